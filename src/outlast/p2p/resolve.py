"""Resolves a ref to a commit and its files: as the sources say, or static peers; and if the user
asked for that, as any node on the LAN says.
"""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from outlast.core.control import Control
from outlast.core.errors import (
    NotFoundError,
    OutlastError,
    PolicyError,
    TransientError,
    WithdrawnError,
)
from outlast.core.events import Note
from outlast.core.names import RepoId
from outlast.core.threads import DaemonPool, beside, interruptible
from outlast.fetch.source_state import METADATA_PATIENCE, SOURCE_FAULTS, Patience, SourceState
from outlast.node.scope import Neighbourhood
from outlast.p2p.in_turn import in_turn
from outlast.p2p.tuning import TUNING, Tuning
from outlast.sources.base import Listing, Source
from outlast.sources.in_time import check_ended
from outlast.sources.peer import PeerSource

if TYPE_CHECKING:
    from concurrent.futures import Future

_log = logging.getLogger(__name__)

Found = tuple[Listing, Source]


def locate(
    sources: Sequence[Source],
    around: Neighbourhood | None,
    repo: RepoId,
    ref: str,
    control: Control,
    *,
    patience: Patience = METADATA_PATIENCE,
    tuning: Tuning = TUNING,
) -> Found:
    """Asks the sources, one after the other, and the static peers at the same time. A source that
    answers soon decides; otherwise the majority of the static peers.

    Strangers on the LAN learn the name from the question, and any of them may answer it. So they
    are asked only if the user named them, and their word is taken only if no source answers and no
    static peer. The listing says then who told it: `told_by`.

    Raises the error of the first source if no answer comes. A source that refuses access decides,
    whatever the neighbours have.
    """
    if around is None:
        return describe(sources, repo, ref, patience, control, tuning=tuning)
    began = time.monotonic()
    asked: Future[Found] | None = None
    faults: dict[int, OutlastError] = {}
    if sources:
        work = partial(describe, failed=faults.__setitem__, tuning=tuning)
        asked = beside(work, sources, repo, ref, patience, control)
    votes = _Votes(around, repo, ref, tuning)
    while True:
        control.cancel.check()
        check_ended()
        votes.collect(strangers=around.named)
        waited = time.monotonic() - began
        if asked is not None and asked.done():
            error = asked.exception()
            if error is None:
                return asked.result()
            if isinstance(error, PolicyError) or not isinstance(error, OutlastError):
                raise error
        ended = asked is None or asked.done()
        if (ended or waited > tuning.origin_grace) and votes.settled(
            waited, strangers=around.named
        ):
            best = votes.best(strangers=around.named and (ended or _are_dark(sources, faults)))
            if best is not None:
                text = _explain(best, votes, asked)
                _log.debug("%s", text)
                control.emit(Note(text))
                return best
            if ended:
                votes.tell_passed_over(control)
                raise _unresolved(votes, repo, ref, asked)
        control.cancel.wait(tuning.poll)


def _are_dark(sources: Sequence[Source], faults: Mapping[int, OutlastError]) -> bool:
    """Whether no source can be reached, or none gives the model out any more. One that says that
    it does not know it may keep it private.
    """
    tried = list(faults.values())  # another thread adds to them
    return len(tried) == len(sources) and all(
        isinstance(error, TransientError | WithdrawnError) for error in tried
    )


class _Votes:
    """What the neighbours say."""

    def __init__(self, around: Neighbourhood, repo: RepoId, ref: str, tuning: Tuning) -> None:
        self._around = around
        self._tuning = tuning
        self._what = (repo, ref)
        self._pool = DaemonPool(tuning.most_asked, "ask")
        self._asked: dict[bytes, tuple[PeerSource, Future[Listing]]] = {}
        self._static: set[str] = set()
        self._passed_over = False

    def collect(self, *, strangers: bool) -> None:
        """Asks the neighbours that are new: the static peers, and `strangers` too."""
        near = self._around.near()
        self._static = {neighbour.source.name for neighbour in near if neighbour.static}
        found = [neighbour for neighbour in near if strangers or neighbour.static]
        self._passed_over = len(found) < len(near)
        for neighbour in found:
            if neighbour.node not in self._asked and len(self._asked) < self._tuning.most_asked:
                source = neighbour.source
                future = self._pool.submit(
                    source.describe, *self._what, self._tuning.describe_timeout
                )
                self._asked[neighbour.node] = source, future

    def tell_passed_over(self, control: Control) -> None:
        """Says so if a stranger is there that was not asked."""
        if self._passed_over:
            control.emit(Note("the nodes on the LAN were not asked: --from lan asks them"))

    def settled(self, waited: float, *, strangers: bool) -> bool:
        """Whether no further answer is worth waiting for. Among invented nodes it takes longer to
        hear `strangers`; but new ones can be invented for ever, so it is not waited for ever.
        """
        if waited > self._tuning.stragglers and self.answers:
            return True
        if not all(future.done() for _, future in self._asked.values()):
            return False
        if waited > self._tuning.find_longest:
            return True
        if self._around.node.contacts.expects():
            return False
        if strangers and self._around.node.is_crowded and not self.answers:
            return False
        return waited > self._tuning.find_first or bool(self.answers)

    @property
    def asks_static_alone(self) -> bool:
        """Whether nodes on the LAN could be asked too, if the user said so."""
        return self._around.lan and not self._around.named

    @property
    def answers(self) -> list[tuple[PeerSource, Listing]]:
        done = [(s, f) for s, f in self._asked.values() if f.done() and f.exception() is None]
        return [(source, future.result()) for source, future in done]

    @property
    def refusals(self) -> list[BaseException]:
        """The errors of those that did not answer."""
        errors = (f.exception() for _, f in self._asked.values() if f.done())
        return [error for error in errors if error is not None]

    def best(self, *, strangers: bool) -> Found | None:
        """The listing of the commit that most static peers name; the one with the most files. If
        none of them answered, and `strangers` count, that of the commit that most of those name.
        What a static peer has from a stranger itself is a stranger's word.
        """
        answers = [a for a in self.answers if a[0].name in self._static and not a[1].told_by]
        if not answers and strangers:
            answers = [(s, replace(told, told_by=s.name)) for s, told in self.answers]
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
    if listing.told_by:
        text += "; no hub has confirmed it"
    return text


def _unresolved(
    votes: "_Votes", repo: RepoId, ref: str, asked: "Future[Found] | None"
) -> BaseException:
    error = asked.exception() if asked is not None else None
    if isinstance(error, TransientError) and votes.asks_static_alone:
        error.hint += "; --from lan takes a neighbour's word for it"
    count = len(votes.refusals)
    nodes = f"none of the {count} reachable nodes has" if count else "no node is reachable that has"
    first = f" (first error: {votes.refusals[0]})" if count else ""
    return error or NotFoundError(
        f"{nodes} {repo}@{ref}{first}",
        hint="'outlast search' shows what neighbours offer",
    )


def describe(
    sources: Sequence[Source],
    repo: RepoId,
    ref: str,
    patience: Patience,
    control: Control,
    *,
    failed: Callable[[int, OutlastError], None] = lambda _number, _error: None,
    tuning: Tuning = TUNING,
) -> tuple[Listing, Source]:
    """Asks one source after the other what `ref` is; the first answer decides, unless that is a
    mirror's which has it from a node on the LAN: then the next ones are asked too. A source that
    is silent for some seconds is asked on beside the next. `failed` is told
    each failure of the source with that number, before it is asked again too.
    """
    errors: dict[int, OutlastError] = {}
    told: Found | None = None

    def ask(number: int, source: Source) -> Listing:
        note = partial(failed, number)
        return patiently(source, repo, ref, patience, control, failed=note)

    answers = in_turn(ask, sources, control.cancel, patience=tuning.next_source_after)
    with contextlib.closing(answers):
        for number, answer in answers:
            source = sources[number]
            try:
                found = answer.result()
            except SOURCE_FAULTS as error:
                errors[number] = error
                if len(sources) > 1:
                    control.emit(Note(f"{source.name}: {error}"))
            else:
                if not found.told_by:
                    return found, source
                told = told or (found, source)
    if told is not None:
        control.emit(Note(f"{told[1].name} has {repo} from a neighbour; no hub has confirmed it"))
        return told
    if errors:
        raise errors[min(errors)]
    raise NotFoundError(f"no source knows {repo}@{ref}")


def patiently(
    source: Source,
    repo: RepoId,
    ref: str,
    patience: Patience,
    control: Control,
    *,
    failed: Callable[[OutlastError], None],
) -> Listing:
    """Asks for metadata, again and again if the source may recover."""
    state = SourceState(source, patience, control.emit)
    while True:
        control.cancel.check()
        try:
            return interruptible(lambda: source.describe(repo, ref), control.cancel)
        except SOURCE_FAULTS as error:
            failed(error)
            state.record_failure(error, path="", key="", started=float("inf"))
            if not state.serves(""):
                raise
            state.pause(control.cancel)
