"""How long a file is waited for that others say they fetch, or have: pure, the clock is the
caller's (seconds that never go back).

A file has one budget of patience, however many nodes claim it. Only two things renew it: bytes of
the file that came here, enough of them; and a proof that a fetcher has bytes which it had not shown
before (`p2p.proofs`). What a node says of its own progress does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from outlast.p2p.tuning import Tuning

_ESCALATION: Final = 4


class FilePatience:
    """Of one file. Not thread-safe."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._since: float | None = None
        self._total = 0
        self._trust = 0.0
        self._trusted_until = float("-inf")
        self._asked = float("-inf")

    def begin(self, now: float) -> None:
        """The file's turn came; later calls change nothing."""
        if self._since is None:
            self._since = now

    def restart(self, now: float) -> None:
        """It does not wait, or not for others."""
        self._since = now

    def lose(self, now: float) -> None:
        """A node that had proved itself fetches it no more: those that wait elect another, whose
        first piece takes a while. No proof holds longer than that.
        """
        self._since, self._trusted_until = now, now + self._tuning.proof_holds

    def see(self, total: int, now: float, least: int) -> None:
        """So many bytes of it came so far; `least` of them renew the patience."""
        if total < self._total or (total > self._total and total - self._total >= least):
            self._total, self._since = total, now

    def prove(self, now: float) -> None:
        """A node that fetches it has shown that it gets on. Each proof in a row buys more time than
        the one before: all waiting nodes ask the origin for one.
        """
        doubled = self._trust * 2 or self._tuning.proof_holds
        self._trust = min(doubled, self._tuning.proof_holds_longest)
        self._since = now
        self._trusted_until = now + self._trust

    @property
    def trust(self) -> float:
        """Seconds for which the last proof holds."""
        return self._trust

    def waited(self, now: float) -> float:
        """Seconds for which nothing has come."""
        if self._since is None:
            return 0.0
        return max(0.0, now - max(self._since, self._trusted_until))

    def wants_proof(self, now: float) -> bool:
        """Whether those that claim to fetch it should be asked for a proof now."""
        tuning = self._tuning
        if self.waited(now) < tuning.proof_after or now < self._asked + tuning.proof_again:
            return False
        self._asked = now
        return True


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """A file that waits for others, `waited` seconds by now. `rank` orders the files differently on
    each node. `newcomer`: a node that can be reached began to fetch it in the meantime.
    """

    waited: float
    rank: bytes
    newcomer: bool = False

    def is_overdue(self, tuning: Tuning) -> bool:
        """A newcomer gets a moment to prove itself: once, however many come."""
        return self.waited >= tuning.patience + (tuning.courtesy if self.newcomer else 0.0)


class Takeover:
    """Which overdue files a node fetches from the origin itself. One at first, four times as many
    each time that this does not help: honest nodes work through their files one after the other,
    and to fetch all that these have not begun would take as many copies as there are nodes.
    """

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._batch = 1

    def reset(self) -> None:
        """A fetcher has proved itself."""
        self._batch = 1

    def choose(self, files: Sequence[WaitingFile], idle: float) -> list[int]:
        """The numbers of the files to fetch now. `idle`: seconds since the origin sent anything to
        this transfer. While it does, no file needs to be taken from others.
        """
        if idle < self._tuning.patience:
            return []
        late = [number for number, one in enumerate(files) if one.is_overdue(self._tuning)]
        late.sort(key=lambda number: files[number].rank, reverse=True)
        chosen = late[: self._batch]
        if chosen:
            self._batch *= _ESCALATION
        return chosen
