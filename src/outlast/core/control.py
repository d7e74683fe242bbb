"""How a caller watches and stops a use case."""

from dataclasses import dataclass, field

from outlast.core.cancel import Cancel
from outlast.core.events import Emit, ignore


@dataclass(frozen=True, slots=True)
class Control:
    """Where events go, and the token that stops the work."""

    emit: Emit = ignore
    cancel: Cancel = field(default_factory=Cancel)
