"""What a ref is: a commit and its files, as the sources say; or, where none answers, the nodes that
are near.
"""

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from outlast.core.control import Control
from outlast.core.errors import NotFoundError, OutlastError, PolicyError
from outlast.core.events import Note
from outlast.core.names import RepoId
from outlast.core.threads import DaemonPool, interruptible
from outlast.fetch.source_state import SOURCE_FAULTS, Patience, SourceState
from outlast.node.scope import Neighbourhood
from outlast.sources.base import Listing, Source
from outlast.sources.peer import PeerSource

if TYPE_CHECKING:
    from concurrent.futures import Future

METADATA_PATIENCE = Patience(tries=4)
_GRACE: Final = 2.0
"""Seconds that an origin has to answer while neighbours have done so."""
_FIND: Final = 1.5
"""Seconds to wait for a first neighbour where no origin answers."""
_STRAGGLERS: Final = 3.0
_ASK_TIMEOUT: Final = 5.0
_MOST_ASKED: Final = 16
_STEP: Final = 0.05

Found = tuple[Listing, Source]


def locate(
    sources: Sequence[Source],
    around: Neighbourhood | None,
    repo: RepoId,
    ref: str,
    control: Control,
    *,
    patience: Patience = METADATA_PATIENCE,
) -> Found:
    """Asks the sources, one after the other, and the neighbourhood at the same time. A source that
    answers soon decides; else what most neighbours say.

    Raises what the first source said where nobody knows. A source that refuses access is obeyed,
    whatever the neighbours have.
    """
    if around is None:
        return describe(sources, repo, ref, patience, control)
    began = time.monotonic()
    asked: Future[Found] | None = None
    if sources:
        asked = DaemonPool(1, "ask").submit(describe, sources, repo, ref, patience, control)
    votes = _Votes(around, repo, ref)
    while True:
        control.cancel.check()
        votes.collect()
        waited = time.monotonic() - began
        if asked is not None and asked.done():
            error = asked.exception()
            if error is None:
                return asked.result()
            if isinstance(error, PolicyError) or not isinstance(error, OutlastError):
                raise error
        silent = asked is None or asked.done() or waited > _GRACE
        if silent and votes.settled(waited):
            if (best := votes.best()) is not None:
                control.emit(Note(_explain(best, votes, asked)))
                return best
            if asked is None or asked.done():
                raise _nobody(votes, repo, ref, asked)
        control.cancel.wait(_STEP)


class _Votes:
    """What the neighbours say."""

    def __init__(self, around: Neighbourhood, repo: RepoId, ref: str) -> None:
        self._around = around
        self._what = (repo, ref)
        self._pool = DaemonPool(_MOST_ASKED, "ask")
        self._asked: dict[bytes, tuple[PeerSource, Future[Listing]]] = {}

    def collect(self) -> None:
        """Asks those who were not there before."""
        for neighbour in self._around.near():
            if neighbour.node not in self._asked and len(self._asked) < _MOST_ASKED:
                source = neighbour.source
                future = self._pool.submit(source.describe, *self._what, _ASK_TIMEOUT)
                self._asked[neighbour.node] = source, future

    def settled(self, waited: float) -> bool:
        """Whether there is nothing to wait for. Those that are silent long after others answered
        are not.
        """
        if waited > _STRAGGLERS and self.answers:
            return True
        if not all(future.done() for _, future in self._asked.values()):
            return False
        if self._around.node.contacts.expects():
            return False
        return waited > _FIND or bool(self.answers)

    @property
    def answers(self) -> list[tuple[PeerSource, Listing]]:
        done = [(s, f) for s, f in self._asked.values() if f.done() and f.exception() is None]
        return [(source, future.result()) for source, future in done]

    @property
    def refusals(self) -> list[BaseException]:
        """Why those that did not answer did not."""
        errors = (f.exception() for _, f in self._asked.values() if f.done())
        return [error for error in errors if error is not None]

    def best(self) -> Found | None:
        """The commit that most of them name; of these, the listing that has most files."""
        answers = self.answers
        if not answers:
            return None
        counts = Counter(listing.commit for _, listing in answers)
        source, listing = min(
            answers,
            key=lambda a: (-counts[a[1].commit], -len(a[1].entries), a[1].commit, a[0].name),
        )
        return listing, source


def _explain(best: Found, votes: _Votes, asked: "Future[Found] | None") -> str:
    listing, _ = best
    answers = votes.answers
    agreed = [source.name for source, other in answers if other.commit == listing.commit]
    text = f"{listing.repo} is {listing.commit.hex[:12]} as {', '.join(agreed[:3])} says"
    if len(agreed) < len(answers):
        text += f" ({len(answers) - len(agreed)} others name another commit)"
    if asked is not None:
        reason = asked.exception() if asked.done() else "no answer yet"
        text += f"; the origin: {reason}"
    return text


def _nobody(
    votes: "_Votes", repo: RepoId, ref: str, asked: "Future[Found] | None"
) -> BaseException:
    error = asked.exception() if asked is not None else None
    count = len(votes.refusals)
    said = f": of {count} one says: {votes.refusals[0]}" if count else ": there is none"
    return error or NotFoundError(
        f"no node that can be reached offers {repo}@{ref}{said}",
        hint="'outlast search' shows what neighbours offer",
    )


def describe(
    sources: Sequence[Source], repo: RepoId, ref: str, patience: Patience, control: Control
) -> tuple[Listing, Source]:
    """Asks one source after the other what `ref` is; the first that knows decides."""
    first: OutlastError | None = None
    for source in sources:
        try:
            return patiently(source, repo, ref, patience, control), source
        except SOURCE_FAULTS as error:
            first = first or error
            if len(sources) > 1:
                control.emit(Note(f"{source.name}: {error}"))
    raise first or NotFoundError(f"no source knows {repo}@{ref}")


def patiently(
    source: Source, repo: RepoId, ref: str, patience: Patience, control: Control
) -> Listing:
    """Asks for metadata, again and again where the source may recover."""
    state = SourceState(source, patience, control.emit)
    while True:
        control.cancel.check()
        try:
            return interruptible(lambda: source.describe(repo, ref), control.cancel)
        except SOURCE_FAULTS as error:
            state.record_failure(error, path="", key="", started=float("inf"))
            if not state.serves(""):
                raise
            state.pause(control.cancel)
