"""The feature as the core sees it: commands, and nothing that runs beside `serve`."""

from typing import Final

from outlast.cli.feature import CommandsAlone

AUDIT: Final = CommandsAlone("audit")
"""``outlast audit``."""
