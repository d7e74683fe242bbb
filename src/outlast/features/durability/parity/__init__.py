"""Parity of the archive's own files: damaged pieces are mended without another copy.

Format: docs/format/parity.md, part II. Public names: `files.ParityFiles`, `mend.ParityMender`.
"""
