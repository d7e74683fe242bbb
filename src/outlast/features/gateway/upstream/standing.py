"""How a target stands: whether it is asked (a circuit breaker), how fast it was, how busy it is."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from outlast.features.gateway.upstream.faults import REACTIONS, Fault, FaultKind, Reaction

_WEIGHT: Final = 0.2
"""Of the newest time to a first token in the mean. Guess: five requests show a change."""
_USUAL: Final = Reaction()


@dataclass(slots=True)
class ServerStanding:
    """One model at one URL (or of the archive). The breaker is closed while `fault` is None; else
    the target is left alone, but for probes in the background, and for requests that no other
    target answers. Belongs to the event loop. `tell` gets a fault once, when it opens, and None
    when the target answers again; `changed` hears of each change of the breaker.
    """

    target: str
    url: str
    tell: Callable[["ServerStanding", Fault | None], object]
    now: Callable[[], float] = time.monotonic
    under_way: int = 0
    first_token: float | None = None
    fault: Fault | None = None
    probing: bool = False
    kind: str = "chat"
    """What it was asked for last."""
    changed: Callable[["ServerStanding"], object] = bool
    changed_at: float = 0.0
    """When the breaker changed last, by `now`."""
    opened: int = 0
    """How often in a row it opened."""
    due: float = 0.0
    """When it is probed next, by `now`."""
    divergent: str = ""
    """What an audit found of it; it is not asked, in no case."""
    _row: int = 0
    _told: set[FaultKind] = field(default_factory=set)

    @property
    def answers(self) -> bool:
        return self.fault is None and not self.divergent

    @property
    def why_not(self) -> str:
        """The kind of fault for which it is not asked; "" where it is."""
        if self.divergent:
            return str(FaultKind.DIVERGENT)
        return "" if self.fault is None else str(self.fault.kind)

    @property
    def state(self) -> str:
        """closed, open, or half-open while it is probed."""
        if self.answers:
            return "closed"
        return "half-open" if self.probing else "open"

    @property
    def is_due(self) -> bool:
        """Whether it should be probed."""
        return self.fault is not None and not self.probing and self.now() >= self.due

    def probed(self) -> None:
        """It answered a probe: it is asked again. If it fails again, the pause is longer than the
        last one, for a probe is not a request.
        """
        self.fault, self._row = None, 0
        self._note()

    def succeeded(self, first_token: float | None = None) -> None:
        """It answered a request; `first_token` in seconds."""
        self._row = 0
        if first_token is not None:
            before = self.first_token
            self.first_token = (
                first_token if before is None else before + _WEIGHT * (first_token - before)
            )
        if self.opened:
            self.fault, self.opened = None, 0
            self._told.clear()
            self._note()
            self.tell(self, None)

    def failed(self, fault: Fault) -> None:
        """It did not answer, and it was no fault of the caller's."""
        if fault.is_callers:
            self.succeeded()
            return
        reaction = REACTIONS.get(fault.kind, _USUAL)
        self._row += 1
        if self.fault is None and self._row < reaction.after and fault.retry_after is None:
            return
        # Requests that were under way when it opened fail too: they make the pause no longer.
        longer = self.fault is None or self.probing
        if longer:
            pause = min(reaction.most, reaction.pause * 2 ** min(self.opened, 20))
            if fault.retry_after is not None:
                pause = max(fault.retry_after, 0.05)
            self.due = self.now() + pause
            self.opened += 1
        self.fault = fault
        if longer:
            self._note()
        if fault.kind not in self._told:
            self._told.add(fault.kind)
            self.tell(self, fault)

    def audited(self, found: str) -> None:
        """What an audit says of it: "" where it may be asked. Tells of a change."""
        before, self.divergent = self.divergent, found
        if found and not before:
            self.tell(self, Fault(FaultKind.DIVERGENT, found))
        elif before and not found and self.fault is None:
            self.tell(self, None)

    def learn(self, fault: Fault | None, at: float, due: float, opened: int) -> None:
        """Takes over what another process of this gateway found at `at`, and told. All times are by
        `now`.
        """
        self.fault, self.changed_at, self.due, self.opened = fault, at, due, opened
        self._row = 0
        if fault is None:
            self._told.clear()
        else:
            self._told.add(fault.kind)

    def _note(self) -> None:
        self.changed_at = self.now()
        self.changed(self)
