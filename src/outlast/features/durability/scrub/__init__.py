"""Scrubbing: all bytes of an archive are read again before they are needed, the ones that were
not read for longest first, and what is damaged is mended.
"""
