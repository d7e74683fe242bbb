"""For whom the work at hand is done, where shares are counted."""

from contextvars import ContextVar
from typing import Final

ASKER: Final[ContextVar[str]] = ContextVar("asker", default="")
"""Who asked for what this task or thread does: an address, or the network of one; empty for this
process's own user.
"""
