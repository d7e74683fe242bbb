"""Why a file comes as it does, or why it waits: small values with a text for people."""

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """The value is a sentence about one file; ``{who}`` and ``{seconds}`` are filled in."""

    # Why a file waits

    ANSWERS = "the neighbours' first answers"
    FETCHER = "{who}, which fetches it since {seconds} s"
    OWNER = "{who}, which has it, to say in which form"
    ELECTION = "the neighbours to agree who fetches it"
    NEWCOMERS = "other nodes to announce themselves"
    BASE = "{who}, which it is a delta against"
    PAUSED = "{who}, which is asked again in {seconds} s"
    PIECES = "a peer that has the missing pieces"
    SOURCE = "a source that has it"
    OTHER_PROCESS = "another process of this archive, which fetches it since {seconds} s"

    # Why it comes as it does

    NO_ELECTION = "this node asks the origin: no election is needed"
    ELECTED = "this node is elected to fetch it from the origin"
    OVERDUE = "nothing came from others: this node asks the origin"
    SLOW = "this node is elected, and the peers are slow"
    WHOLE = "peers have all of it, and no other node wants it"
    SWARM = "it comes through the swarm, which has all of it"
    STALLED = "the swarm brings nothing: seeds are asked over HTTP too"

    @property
    def waits(self) -> bool:
        """Whether the file waits for this."""
        return self in _WAITS


_WAITS = frozenset(
    {
        Cause.ANSWERS,
        Cause.FETCHER,
        Cause.OWNER,
        Cause.ELECTION,
        Cause.NEWCOMERS,
        Cause.BASE,
        Cause.PAUSED,
        Cause.PIECES,
        Cause.SOURCE,
        Cause.OTHER_PROCESS,
    }
)


@dataclass(frozen=True, slots=True)
class Reason:
    """`who`: the node, source or file that the cause is about. `until`: when a pause ends
    (monotonic seconds).
    """

    cause: Cause
    who: str = ""
    until: float = 0.0

    def text(self, now: float, since: float) -> str:
        """For people. `since`: when this became the reason (monotonic seconds)."""
        seconds = self.until - now if self.until else now - since
        return self.cause.value.format(who=self.who, seconds=max(0, round(seconds)))
