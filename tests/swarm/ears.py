"""Beacons under test, and what they hear."""

import threading
from collections.abc import Callable, Sequence

from outlast.swarm.lan.beacon import Beacon
from outlast.swarm.lan.datagrams import Announcement, Heard, Want, Wish
from outlast.swarm.tuning import TUNING, LanTuning

PATIENCE = 20.0
"""Seconds after which a test gives up; no test waits that long but to fail."""


class Ears:
    """What one beacon has heard, and a way to wait for it."""

    def __init__(
        self,
        node: bytes,
        *,
        interfaces: Sequence[str] | None = None,
        group_port: int = 6771,
        accepts: Callable[[str], bool] = lambda _: True,
        tuning: LanTuning = TUNING.lan,
    ) -> None:
        self.node = node
        self.heard: list[Heard] = []
        self.problems: list[str] = []
        self._changed = threading.Condition()
        self.beacon = Beacon(
            node,
            8091,
            self._hear,
            interfaces=interfaces,
            accepts=accepts,
            problem=self._note,
            group_port=group_port,
            tuning=tuning,
        )

    def _hear(self, value: Heard) -> None:
        with self._changed:
            self.heard.append(value)
            self._changed.notify_all()

    def _note(self, problem: str) -> None:
        with self._changed:
            self.problems.append(problem)
            self._changed.notify_all()

    def until(self, enough: Callable[[], bool]) -> bool:
        """Whether it came to that."""
        with self._changed:
            return self._changed.wait_for(enough, PATIENCE)

    def forget(self) -> None:
        with self._changed:
            self.heard.clear()

    def nodes(self) -> set[bytes]:
        return {value.node for value in list(self.heard)}

    def wanting(self, key: bytes) -> set[bytes]:
        """The nodes that said that they want this."""
        found = [value for value in list(self.heard) if isinstance(value, Want)]
        return {value.node for value in found if any(w.key == key for w in value.wishes)}

    def addresses(self, node: bytes) -> set[str]:
        return {v.address for v in list(self.heard) if v.node == node}

    def knows(self, *others: "Ears") -> bool:
        """Waits until announcements of all of these were heard."""
        wanted = {other.node for other in others}
        return self.until(
            lambda: wanted <= {v.node for v in self.heard if isinstance(v, Announcement)}
        )

    def complains(self) -> bool:
        """Waits for a problem."""
        return self.until(lambda: bool(self.problems))

    def said(self, key: bytes) -> list[Wish]:
        """What was heard of a key, in order."""
        found = [v for v in list(self.heard) if isinstance(v, Want)]
        return [wish for value in found for wish in value.wishes if wish.key == key]
