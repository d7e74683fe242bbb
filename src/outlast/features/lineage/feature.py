"""The feature as the core sees it: a command, and nothing that runs beside `serve`."""

from typing import Final

from outlast.cli.feature import CommandsAlone

LINEAGE: Final = CommandsAlone("lineage")
