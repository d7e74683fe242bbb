"""The Python API: what `import outlast` gives to scripts and notebooks. Like the command line it
reads settings and calls use cases; it parses no arguments and prints nothing.

Public names: `public` has all names that `outlast` promises, `archive.Archive` what an archive can.
"""
