"""Bundles as a source: parts in folders or on a web server, and the models that they hold.

Public names: `opened.open_media`, `opened.OpenBundle`, `source.BundleSource`.
"""
