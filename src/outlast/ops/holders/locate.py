"""Locate: who has which files of a model now. All are asked at once, and none is waited for long.

First the sources say what the model is, unless it is archived; static peers say it where no source
does. A model that one of them, or this archive, calls private or gated is asked of no stranger.
"""

import contextlib
import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

from outlast.core.control import Control
from outlast.core.errors import (
    NotFoundError,
    OutlastError,
    PolicyError,
    StorageError,
    TransientError,
)
from outlast.core.events import Note
from outlast.core.manifest import Revision
from outlast.core.names import Target, plain_ref
from outlast.core.threads import DaemonPool
from outlast.node.policy import SharePolicy
from outlast.node.status_client import ask_nodes
from outlast.ops.holders import nodes, places, swarm
from outlast.ops.holders.learned import equal_of, hub_of, seen_of
from outlast.ops.holders.places import PlaceAnswer
from outlast.ops.holders.rounds import Round, T
from outlast.ops.holders.strangers import ask_strangers
from outlast.ops.holders.tuning import TUNING, Tuning
from outlast.ops.holders.values import Holder, HolderKind, HolderState, Located, WantedFiles
from outlast.sources.base import Listing, Source
from outlast.sources.http import HttpClient
from outlast.store.archive import Archive
from outlast.store.records.equals import Equals
from outlast.swarm.settings import HostPort, SwarmSettings

_log = logging.getLogger(__name__)
HERE = "this archive"
Failed: TypeAlias = Callable[[Source, HolderState | None], None]


@dataclass(frozen=True, slots=True)
class Around:
    """The nodes and swarms that may be asked, besides the sources: static `peers`, and if `lan`
    those that are heard there, trackers and the DHT. `named`: the user named those on the LAN, so
    that they may hear the name of the model. `http` asks nodes.
    """

    http: HttpClient
    swarm: SwarmSettings = field(default_factory=SwarmSettings)
    share: SharePolicy = field(default_factory=SharePolicy)
    peers: tuple[HostPort, ...] = ()
    lan: bool = False
    named: bool = False


def locate(
    archive: Archive | None,
    target: Target,
    sources: Sequence[Source],
    around: Around,
    control: Control,
    *,
    failed: Failed = lambda _source, _state: None,
    tuning: Tuning = TUNING,
) -> Located:
    """Asks all of them for the files of `target`: of the revision that is archived, or else of the
    one that the first source names. What was learned is kept in the archive, if there is one.
    `failed` is told how each source failed, or None if it answered.

    Raises :class:`NotFoundError` or another error of the first source if none knows the model.
    """
    search = _Locating(archive, target, sources, around, control, tuning=tuning)
    return search.run(failed)


class _Locating:
    def __init__(
        self,
        archive: Archive | None,
        target: Target,
        sources: Sequence[Source],
        around: Around,
        control: Control,
        *,
        tuning: Tuning,
    ) -> None:
        self._archive = archive
        self._repo = target.repo if archive is None else archive.refs.spelling(target.repo)
        self._ref = plain_ref(target.ref or "main")
        self._sources = sources
        self._around = around
        self._control = control
        self._tuning = tuning
        self._pool = DaemonPool(tuning.threads, "locate")
        self._own = self._own_nodes()

    def run(self, failed: Failed) -> Located:
        met = nodes.Met(self._tuning)
        with contextlib.ExitStack() as stack:
            if self._around.lan:
                stack.enter_context(nodes.listening(met))
            began = time.monotonic()
            archived = self._archived()
            answers, failures = self._ask_places(archived)
            for number, source in enumerate(self._sources):
                known = number in answers
                failed(source, None if known else places.state_of(failures.get(number)))
            wanted = self._wanted(archived, answers, failures)
            answers |= self._ask_again(wanted, answers)
            held = [
                places.place_holder(source, wanted, answers[number])
                if number in answers
                else places.failed_place(source, failures.get(number))
                for number, source in enumerate(self._sources)
            ]
            others, silent = self._ask_nodes(wanted, met, began)
        found = Located(wanted, self._here(wanted), [*held, *others], silent)
        self._keep(found, archived, list(answers.items()))
        return found

    def _round(self) -> "Round[T]":
        return Round(self._pool, self._control, self._tuning)

    # What the model is

    def _archived(self) -> Revision | None:
        if self._archive is None:
            return None
        with contextlib.suppress(NotFoundError):
            return self._archive.revision(self._repo, self._ref)
        return None

    def _ask_places(
        self, archived: Revision | None
    ) -> tuple[dict[int, PlaceAnswer], dict[int, OutlastError]]:
        """The answers of the sources, and their errors, by number; of some there is neither."""
        refs = [self._ref] if archived is None else [archived.id.hex, self._ref]
        equals = None if self._archive is None else self._archive.equals.get(self._repo)
        asked: Round[PlaceAnswer] = self._round()
        for source in self._sources:
            names = (equals or Equals()).names_at(hub_of(source))
            work = partial(places.ask_place, source, self._repo, refs, names, self._tuning.answer)
            asked.ask(source.name, work)
        answers: dict[int, PlaceAnswer] = {}
        failures: dict[int, OutlastError] = {}
        for number, (name, answer) in enumerate(asked.answers()):
            if isinstance(answer, PlaceAnswer):
                answers[number] = answer
            elif isinstance(answer, OutlastError):
                failures[number] = answer
                _log.debug("%s: %s", name, answer)
        return answers, failures

    def _wanted(
        self,
        archived: Revision | None,
        answers: dict[int, PlaceAnswer],
        failures: dict[int, OutlastError],
    ) -> WantedFiles:
        listings = [answer.listing for answer in answers.values()]
        refused = any(isinstance(error, PolicyError) for error in failures.values())
        deciding = self._deciding(answers)
        if archived is None and not deciding:
            deciding = [("a static peer", told) for told in self._ask_static()]
            listings += [told for _, told in deciding]
        closed = refused or any(map(_is_closed, listings)) or self._is_closed_here(bool(listings))
        closed = (closed and not self._around.share.restricted) or not self._is_given_out()
        if archived is not None:
            entries = (*archived.files, *archived.missing)
            return WantedFiles(
                self._repo, archived.id, entries, HERE, closed, unlisted=archived.unlisted
            )
        if not deciding:
            raise self._unknown(failures)
        teller, first = deciding[0]
        return WantedFiles(
            self._repo, first.commit, tuple(first.entries), teller, closed, first.unlisted
        )

    def _deciding(self, answers: dict[int, PlaceAnswer]) -> list[tuple[str, Listing]]:
        """The answers that may say what the name stands for, each with the source's name: those of
        the first source and of others that share its names, in order. A mirror's word that it has
        from a node on the LAN comes after the others.
        """
        found = [
            (source.name, answers[number].listing)
            for number, source in enumerate(self._sources)
            if number in answers and places.share_names(source, self._sources[0])
        ]
        return sorted(found, key=lambda told: bool(told[1].told_by))

    def _ask_static(self) -> list[Listing]:
        """What static peers say that the model is, where no source does."""
        asked: Round[Listing] = self._round()
        http, tuning = self._around.http, self._tuning
        for peer in self._around.peers:
            work = partial(nodes.describe_static, http, peer, self._repo, self._ref, tuning)
            asked.ask(peer[0], work)
        return [answer for _, answer in asked.answers() if isinstance(answer, Listing)]

    def _is_closed_here(self, was_said: bool) -> bool:
        """What cannot be read of a model that is here counts as private; so does what only a cache
        of other programs had, unless it `was_said` by now what it is.
        """
        if self._archive is None or not self._archive.commits(self._repo):
            return False
        refs = self._archive.refs
        if not was_said and refs.is_unsaid(self._repo):
            return True
        return not (refs.is_known(self._repo) and refs.about(self._repo).is_open)

    def _is_given_out(self) -> bool:
        """Whether the operator shares it at all."""
        stopped = self._archive is not None and self._archive.refs.about(self._repo).is_stopped
        return self._around.share.shares(self._repo, 0) and not stopped

    def _unknown(self, failures: dict[int, OutlastError]) -> OutlastError:
        """Why it is not known which files to ask for."""
        if failures:
            return failures[min(failures)]
        what = f"{self._repo}@{self._ref}"
        if self._sources:
            return TransientError(f"no source has said in time what {what} is")
        return NotFoundError(f"{what} is not archived, and no source was named to say what it is")

    def _ask_again(
        self, wanted: WantedFiles, answers: dict[int, PlaceAnswer]
    ) -> dict[int, PlaceAnswer]:
        """Asks those for the wanted commit that named another one: they may have that, too."""
        if wanted.told_by == HERE:  # they were asked for that
            return {}
        others = {n: a for n, a in answers.items() if a.listing.commit != wanted.commit}
        asked: Round[PlaceAnswer] = self._round()
        for number, answer in others.items():
            refs = [wanted.commit.hex, self._ref]
            source = self._sources[number]
            work = partial(places.ask_place, source, answer.name, refs, (), self._tuning.answer)
            asked.ask(source.name, work)
        found = zip(others, asked.answers(), strict=True)
        return {n: answer for n, (_, answer) in found if isinstance(answer, PlaceAnswer)}

    # Nodes and swarms

    def _own_nodes(self) -> tuple[bytes, ...]:
        """The ids of the nodes that run on this archive: they hold nothing that is not here."""
        if self._archive is None:
            return ()
        found = ask_nodes(self._archive.layout.home)
        return tuple(bytes.fromhex(node.node) for node in found.nodes)

    def _ask_nodes(
        self, wanted: WantedFiles, met: nodes.Met, began: float
    ) -> tuple[list[Holder], int]:
        """Static peers, and of an open model nodes on the LAN and swarms, too. How many nodes on
        the LAN have nothing of it.
        """
        around, tuning = self._around, self._tuning
        refs = list(dict.fromkeys([wanted.commit.hex, self._ref]))
        peers: Round[nodes.NodeAnswer] = self._round()
        for peer in around.peers:
            static = nodes.NodeQuestion(wanted, refs, named=True, static=peer[0])
            work = partial(nodes.ask_static, around.http, peer, static, tuning.answer, tuning)
            peers.ask(f"{peer[0]}:{peer[1]}", work)
        crowds: Round[Holder] = self._round()
        strangers: list[nodes.NodeAnswer] = []
        if around.lan and not wanted.closed:
            self._ask_swarms(wanted, crowds)
            question = nodes.NodeQuestion(wanted, refs, named=around.named)
            strangers = ask_strangers(
                met,
                lambda peer: nodes.ask_stranger(around.http, peer, question, tuning),
                self._control,
                listen_until=began + tuning.listen,
                tuning=tuning,
            )
        found, known = _static_rows(peers, set(self._own))
        near, silent = _near_rows(strangers, known)
        return [*found, *near, *self._swarm_rows(crowds)], silent

    def _ask_swarms(self, wanted: WantedFiles, crowds: "Round[Holder]") -> None:
        around, tuning = self._around, self._tuning
        settings = around.swarm
        torrents = swarm.torrents_of(self._archive, wanted, tuning)
        if settings.private or not torrents.files:
            return
        for url in settings.trackers:
            ask = partial(swarm.ask_tracker, around.http, url, torrents, wanted, tuning=tuning)
            crowds.ask(swarm.shown_tracker(url), ask)
        if settings.dht:
            crowds.ask(
                swarm.DHT,
                partial(swarm.ask_dht, settings, torrents, wanted, self._control.cancel, tuning),
            )

    def _swarm_rows(self, crowds: "Round[Holder]") -> list[Holder]:
        rows = [
            answer if isinstance(answer, Holder) else swarm.failed_swarm(name, answer)
            for name, answer in crowds.answers()
        ]
        if not self._own:
            return rows
        note = "this archive's own node may be among them"
        return [
            replace(row, note="; ".join(filter(None, (row.note, note)))) if row.files else row
            for row in rows
        ]

    # What is here, and what is kept

    def _here(self, wanted: WantedFiles) -> Holder:
        archive = self._archive
        files = frozenset(
            number
            for number, entry in enumerate(wanted.entries)
            if archive is not None and archive.holds(archive.known(entry) or entry)
        )
        state = HolderState.PARTIAL if files else HolderState.ABSENT
        if len(files) == len(wanted.entries):
            state = HolderState.COMPLETE
        commit = wanted.commit if wanted.told_by == HERE else None
        return Holder(HERE, HolderKind.HERE, HERE, state, files, wanted.size_of(files), commit)

    def _keep(
        self,
        found: Located,
        archived: Revision | None,
        answers: Sequence[tuple[int, PlaceAnswer]],
    ) -> None:
        """Notes who holds what, and which models elsewhere are the same; an archive that cannot be
        written to is read all the same.
        """
        archive, wanted = self._archive, found.wanted
        if archive is None:
            return
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        equals = before = archive.equals.get(self._repo) or Equals()
        for number, answer in answers if archived is not None else ():
            one = equal_of(self._sources[number], wanted, answer, now)
            equals = equals if one is None else equals.with_one(one)
        seen = seen_of(found, archive.holders.get(self._repo), now)
        try:
            with archive.writer() as writer:
                if equals != before:
                    archive.equals.put(writer, self._repo, equals)
                archive.holders.put(writer, self._repo, seen)
        except StorageError as error:
            self._control.emit(Note(f"not noted who has {self._repo}: {error}"))


def _static_rows(
    asked: "Round[nodes.NodeAnswer]", own: set[bytes]
) -> tuple[list[Holder], set[bytes]]:
    """The rows of static peers, and the ids of all nodes that need no other row."""
    rows, known = [], set(own)
    for name, answer in asked.answers():
        if not isinstance(answer, nodes.NodeAnswer):
            rows.append(nodes.failed_node(name, answer))
        elif answer.node not in known:
            known.add(answer.node)
            rows.append(answer.holder)
    return rows, known


def _near_rows(answers: Sequence[nodes.NodeAnswer], known: set[bytes]) -> tuple[list[Holder], int]:
    """The rows of nodes on the LAN that have something, and how many have nothing."""
    rows, silent = [], 0
    for answer in answers:
        if answer.node in known:
            continue
        known.add(answer.node)
        if answer.holder.files:
            rows.append(answer.holder)
        else:
            silent += 1
    return rows, silent


def _is_closed(listing: Listing) -> bool:
    return listing.facts.private or bool(listing.facts.gated)
