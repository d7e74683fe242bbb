"""Keeps the breakers of one process in step with those of the others: the newest change of any of
them holds.
"""

from collections.abc import Iterable
from typing import Final

from outlast.features.gateway.processes.board import BreakerBoard, BreakerNote
from outlast.features.gateway.upstream.faults import Fault, FaultKind
from outlast.features.gateway.upstream.standing import ServerStanding


class SharedBreakers:
    """The view of the process at `place` of a board. Belongs to its event loop."""

    def __init__(self, board: BreakerBoard, place: int) -> None:
        self._board: Final = board
        self._place: Final = place
        self._own = dict(board.read(place) or {})  # of the process whose place it takes
        self._seen: dict[int, int] = {}

    def changed(self, standing: ServerStanding) -> None:
        """Tells the others that a breaker opened, closed, or waits longer."""
        fault = standing.fault
        note = BreakerNote(standing.changed_at)
        if fault is not None:
            kind, detail = str(fault.kind), str(fault)
            times = (standing.changed_at, standing.due, standing.opened)
            note = BreakerNote(*times, kind, detail, fault.status, fault.retry_after)
        self._own[_key(standing)] = note
        self._board.write(self._place, self._own)

    def look(self, standings: Iterable[ServerStanding]) -> None:
        """Takes over what the others have changed since the last look."""
        news: dict[str, BreakerNote] = {}
        for place in range(self._board.places):
            number = self._board.number(place)
            if self._seen.get(place) == number:
                continue
            found = self._board.read(place)
            if found is None:
                continue
            self._seen[place] = number
            for key, note in found.items():
                if key not in news or news[key].at < note.at:
                    news[key] = note
        if not news:
            return
        for standing in standings:
            note = news.get(_key(standing), BreakerNote(0.0))
            if note.at > standing.changed_at:
                standing.learn(_fault(note), note.at, note.due, note.opened)

    def forget(self) -> None:
        """What was read counts no more: the next look takes all of it anew."""
        self._seen.clear()


def _key(standing: ServerStanding) -> str:
    return f"{standing.target}\0{standing.url}"


def _fault(note: BreakerNote) -> Fault | None:
    if not note.kind:
        return None
    try:
        kind = FaultKind(note.kind)
    except ValueError:
        return None
    return Fault(kind, note.detail, status=note.status, retry_after=note.retry_after)
