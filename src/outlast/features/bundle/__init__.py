"""Bundles: models on removable media, across an air gap, with all that is needed to verify and read
them (docs/format/bundle.md). What reads them is in `sources.bundle`, what they are made of in
`codec.bundle`.
"""
