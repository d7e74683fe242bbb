"""Bundles: models on removable media, across an air gap, with all that is needed to verify and read
them (docs/format/bundle.md). The rooms `bundle` of the sources reads them, that of
the codec says what they are made of.
"""
