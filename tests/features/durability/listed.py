"""The feature by a name, for processes that are started with it alone."""

from typing import Final

from outlast.cli.feature import Listed
from outlast.features import FEATURES

DURABILITY: Final[Listed] = next(one for one in FEATURES if one.name == "durability")
