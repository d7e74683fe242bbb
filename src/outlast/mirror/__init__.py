"""The archive with hubs behind it: answers from the archive, asks upstream for the rest, and
streams files while they arrive.

Public names: `mirror.Mirror`, `streaming.StreamingFile`, `answers.Found`.
"""
