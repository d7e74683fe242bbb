"""Parity of the archive's own files: damaged pieces are mended without asking anybody.

Format: docs/format/parity.md, part II. Public names: `files.ParityFiles`, `mend.Mender`.
"""
