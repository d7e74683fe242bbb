"""Bundles as pure bytes: how the stream is cut into parts, what a part says of itself, and the
documents that say what a bundle holds. No files, no network.

Format: docs/format/bundle.md. Public names: `geometry.Geometry`, `part.PartHeader`,
`contents.BundleContents`, `documents.BundleFile`, `documents.ArchiveInventory`.
"""
