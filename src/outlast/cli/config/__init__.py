"""The configuration, read once at the edge: flag, environment, file, default.

Public names: `file.load_config`.
"""
