"""Where a catalogue's targets are told to those that follow it in a benchmark."""

from typing import Final

PATHS: Final = "paths.txt"
"""Beside the catalogue: the path of each of its targets, a line each."""
