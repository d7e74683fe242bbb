"""Scrubbing: all bytes of an archive are read again before anybody needs them, the ones that were
not read for longest first, and what is damaged is mended.
"""
