"""Pull by link: archive what a magnet link or a .torrent file names.

The files are verified against the link. The link does not prove who published them, nor that they
are what its name says. The archive records the link of each such revision.
"""

import errno
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Final

from outlast.codec.hashing import names_of
from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid, Names
from outlast.core.errors import (
    CorruptError,
    DiskFullError,
    MalformedError,
    OutlastError,
    StorageError,
    UsageError,
)
from outlast.core.events import FileDone, Planned, Progress
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, Target
from outlast.core.policy import Action
from outlast.fetch.tuning import TUNING as FETCH_TUNING
from outlast.intake.base_finder import BaseFinder
from outlast.intake.base_names import BaseNames, is_card
from outlast.intake.capsule_import import names_here, take_if_capsule
from outlast.intake.capsule_stream import Intake, held_bytes
from outlast.intake.content import Suspect
from outlast.intake.form_policy import PLAIN, FormWishes
from outlast.intake.judging import require_files, require_revision
from outlast.intake.recording import record_acquired
from outlast.intake.suspects import Suspects, refuse, warn
from outlast.node import payloads
from outlast.node import shared_torrents as shares
from outlast.node.scope import Neighbourhood
from outlast.ops.add import store_file
from outlast.ops.tuning import TUNING, Tuning
from outlast.p2p.link_peers import Waiting, may_be_restricted, resolved, ticks
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.garbage.trash import room_hint
from outlast.store.linkpartials import LinkPartial
from outlast.store.records.refs import Ref
from outlast.store.writer import WriteSession
from outlast.swarm.client import multi_file as foreign
from outlast.swarm.torrent import payload_torrent as metainfo
from outlast.swarm.torrent.magnet import Link, parse_magnet
from outlast.swarm.torrent.read import read_torrent
from outlast.swarm.torrent.v1_check import V1Pieces

_log = logging.getLogger(__name__)

ORGANISATION: Final = "link"


@dataclass(frozen=True, slots=True)
class LinkWishes:
    """How to archive a link: under which name (None: one made from the infohash), in which
    representation, how many seconds to wait for a peer that sends something (None: for ever), and
    at most `rate` bytes per second (0: no limit).
    """

    name: Target | None = None
    forms: FormWishes = PLAIN
    patience: float | None = None
    rate: int = 0
    strict: bool = False


@dataclass(frozen=True, slots=True)
class LinkWanted:
    """A link, and the .torrent file that it was read from, if any."""

    link: Link
    torrent: bytes = b""

    @property
    def infohash(self) -> bytes:
        """The infohash of version 2 if the link has one, else of version 1."""
        found = self.link.infohash_v2 or self.link.infohash_v1
        assert found is not None, "a link has an infohash"
        return found


@dataclass(frozen=True, slots=True)
class PulledLink:
    """The result. The files were verified against `link`; `fetched` counts the bytes that came over
    the network, by source; the revision takes `held` bytes of the disk. In a dry run there is no
    revision. `restricted`: it came from static peers, and is offered to static peers only.
    `suspects` are files that are not what their names say.
    """

    repo: RepoId
    ref: str
    link: str
    files: int
    size: int
    free: int
    revision: Revision | None = None
    manifest: Digest | None = None
    fetched: Mapping[str, int] = field(default_factory=dict)
    held: int = 0
    restricted: bool = False
    suspects: tuple[Suspect, ...] = ()

    @property
    def fits(self) -> bool:
        return self.size + FETCH_TUNING.reserve <= self.free


def pull_link(
    archive: Archive,
    wanted: LinkWanted,
    around: Neighbourhood,
    wishes: LinkWishes,
    control: Control,
    *,
    dry_run: bool = False,
    tuning: Tuning = TUNING,
) -> PulledLink:
    """Archives what a link names, from the peers of its swarm.

    Raises :class:`MalformedError` if the torrent cannot be archived, :class:`DiskFullError` before
    the first byte if the disk has not enough space, :class:`UnreachableError` when the patience
    ends, :class:`UsageError` if the name is taken. Bytes that arrived are kept, and the same call
    resumes.
    """
    key = wanted.infohash.hex()
    target = wishes.name or Target(RepoId.parse(f"{ORGANISATION}/{key[:16]}"), None)
    _refuse_own(archive, wanted.link)
    archive.refs.refuse_twin(target.repo)  # before anything is fetched
    known = _known(archive, target, wanted)
    if known is not None:
        return _judged(archive, known, control, strict=wishes.strict)
    blob = _payload_here(archive, wanted.link)
    _log.debug("the payload of the link is in the archive: %s", blob or "no")
    if blob is not None and not dry_run:
        done = _take_here(archive, target, wanted.link, blob, control, strict=wishes.strict)
        return _recorded(archive, done, key, control)
    with LinkPartial(archive.layout, key) as partial:
        run = _LinkPull(archive, wanted, around, wishes, control, partial, target, tuning)
        data = run.metadata()
        whole = read_torrent(data)
        free = disk.free_bytes(archive.layout.home)
        shape = PulledLink(
            repo=target.repo,
            ref=target.ref or "main",
            link=bare(whole),
            files=len(whole.files),
            size=whole.size or 0,
            free=free + partial.present(),
        )
        entries = [FileEntry(file.path, file.size) for file in whole.files]
        for action in (Action.PULL, Action.SHARE):  # what comes by a swarm is given on in it
            require_files(archive, action, target.repo, entries, source=shape.link)
        if dry_run:
            return shape
        if not shape.fits:
            raise DiskFullError(
                f"the link names {shape.size} bytes; {free} are free in {archive.layout.home}",
                hint=room_hint(archive.layout),
            )
        fetched = run.fetch(data, whole, shape)
        givers = [name.removeprefix("swarm").strip() for name in fetched]
        _log.info("the bytes came from: %s", ", ".join(givers) or "no peer")
        restricted = bool(givers) and may_be_restricted(around, givers, whole, control)
        done = run.keep(whole, replace(shape, restricted=restricted))
        partial.discard()
        return _recorded(archive, replace(done, fetched=fetched), key, control)


def _recorded(archive: Archive, done: PulledLink, key: str, control: Control) -> PulledLink:
    """The same, of which evidence was kept: the torrent `key` is what it came by."""
    if done.revision is not None:
        source = f"torrent {key}"
        record_acquired(archive, control, done.revision, source, ref=done.ref, fetched=done.fetched)
    return done


def bare(link: Link) -> str:
    """A link without trackers, peers and web seeds, which anyone may add to it."""
    return Link(link.infohash_v2, link.infohash_v1, name=link.name).magnet()


def _refuse_own(archive: Archive, link: Link) -> None:
    for share in shares.registered(archive):
        if _same(share.link, link):
            raise UsageError(
                f"this archive shares that link: it is {share.repo}@{share.commit.hex[:12]}",
                hint="'outlast show' lists its files",
            )


def _known(archive: Archive, target: Target, wanted: LinkWanted) -> PulledLink | None:
    """The result of an earlier pull of this link. Raises if the name has another origin."""
    repo = target.repo
    commits = archive.commits(repo)
    for commit, text in archive.refs.about(repo).links.items():
        if commit not in {c.hex for c in commits} or not _same(parse_magnet(text), wanted.link):
            continue
        revision = archive.load(repo, GitOid(commit))
        if revision is not None and all(map(archive.holds, revision.files)):
            return PulledLink(
                repo=repo,
                ref=target.ref or "main",
                link=text,
                files=len(revision.files),
                size=revision.size,
                free=disk.free_bytes(archive.layout.home),
                revision=revision,
                manifest=revision.digest,
                held=held_bytes(archive, revision.files),
            )
    if commits:
        raise UsageError(
            f"{repo} already exists and has another origin",
            hint="choose another name with --as ORG/NAME",
        )
    return None


def _same(one: Link, other: Link) -> bool:
    """Whether two links have no different infohash and at least one in common."""
    pairs = (
        (one.infohash_v2, other.infohash_v2),
        (one.infohash_v1, other.infohash_v1),
    )
    said = [a == b for a, b in pairs if a is not None and b is not None]
    return bool(said) and all(said)


@dataclass(slots=True)
class _LinkPull:
    """One pull of one link."""

    archive: Archive
    wanted: LinkWanted
    around: Neighbourhood
    wishes: LinkWishes
    control: Control
    partial: LinkPartial
    target: Target
    tuning: Tuning = TUNING

    @property
    def restricted(self) -> bool:
        """Whether only static peers may be asked."""
        return not self.around.lan

    # The torrent

    def metadata(self) -> bytes:
        """The .torrent file: from an earlier call, as given, computed, or from the peers. It is
        checked against the link.
        """
        noted = self.partial.torrent()
        if noted is not None and self._fits(noted):
            _log.info("the list of files: left by an interrupted pull of this link")
            return noted
        data, origin = self.wanted.torrent, "the torrent file that was given"
        if not data and self.wanted.link.payload is not None:
            data, origin = self._payload_torrent(*self.wanted.link.payload), "computed"
        if not data:
            data, origin = metainfo.assemble(self._ask(), None), "peers"
        _log.info("the list of files comes from: %s", origin)
        if not _same(read_torrent(data), self.wanted.link):
            raise MalformedError("the received torrent does not match the link")
        self.partial.note_torrent(data)
        return data

    def _fits(self, noted: bytes) -> bool:
        try:
            return _same(read_torrent(noted), self.wanted.link)
        except MalformedError:
            return False

    def _payload_torrent(self, root: Digest, size: int) -> bytes:
        """Of a payload: root and size suffice; a neighbour's layer of hashes is added."""
        for neighbour in self.around.node.await_neighbours(self.tuning.layer_wait):
            try:
                tree = neighbour.source.layer(root, size, self.tuning.layer_answer)
            except OutlastError:
                continue
            return metainfo.torrent(tree)
        return metainfo.assemble(metainfo.info_of(root, size), None)

    def _ask(self) -> bytes:
        waiting = Waiting(self.wishes.patience, self.control)
        link = self._resolved(self.wanted.link)
        session = self.around.node.session
        trackers = self.around.node.settings.trackers
        with (
            foreign.ask(session, link, restricted=self.restricted, trackers=trackers) as torrent,
            closing(ticks(torrent, link, self.around, self.control)) as waits,
        ):
            for _ in waits:
                info = torrent.info
                if info is not None:
                    return info
                waiting.saw(replace(torrent.view(), copies=1.0), "the list of files")
        raise AssertionError("ticks never end")

    def _resolved(self, link: Link) -> Link:
        return resolved(link, self.control)

    # Its files

    def fetch(self, data: bytes, whole: Link, shape: PulledLink) -> dict[str, int]:
        """Fetches all files to their places; returns the bytes received, by source."""
        places = [self.partial.place(number) for number in range(len(whole.files))]
        self.partial.part(len(places))
        waiting = Waiting(self.wishes.patience, self.control)
        link = self._resolved(_together(self.wanted.link, whole))
        session, have = self.around.node.session, -1
        with (
            foreign.fetch(
                *(session, data, link, places),
                restricted=self.restricted,
                trackers=self.around.node.settings.trackers,
                rate=self.wishes.rate,
            ) as torrent,
            closing(ticks(torrent, link, self.around, self.control)) as waits,
        ):
            for _ in waits:
                _refuse(torrent.failure)
                standing = torrent.view()
                if have < 0 and not standing.checks:
                    what = str(shape.repo), shape.files, shape.size, standing.have
                    self.control.emit(Planned("pull", *what))
                elif standing.have > have >= 0:
                    self.control.emit(Progress("", standing.have - have, "swarm"))
                have = -1 if standing.checks else standing.have
                torrent.gave()
                if standing.whole:
                    break
                waiting.saw(standing, "the rest")
            return {f"swarm {host}".rstrip(): count for host, count in torrent.gave().items()}

    # The archive

    def keep(self, whole: Link, shape: PulledLink) -> PulledLink:
        """Archives the files, and records the link that they came from."""
        archive = self.archive
        with archive.writer() as writer:
            base_finder = BaseFinder(archive, writer, self.wishes.forms, self.target.repo)
            self._learn(base_finder.names, whole)
            intake = Intake(archive, writer, self.wishes.forms, base_finder)
            if whole.payload is not None:
                entries = [self._restore(intake, whole)]
            else:
                entries = [self._file(intake, n, whole) for n in range(len(whole.files))]
            if whole.infohash_v2 is None:
                self._check_old(whole, entries)
            return _put(archive, writer, shape, entries, self.control, strict=self.wishes.strict)

    def _learn(self, names: BaseNames, whole: Link) -> None:
        """What the cards among the files name as bases."""
        for number, file in enumerate(whole.files):
            if is_card(file.path, file.size):
                place = self.partial.place(number)
                with disk.reporting(place):
                    names.learn(file.path, place.read_bytes() if file.size else b"")

    def _file(self, intake: Intake, number: int, whole: Link) -> FileEntry:
        self.control.cancel.check()
        file, place = whole.files[number], self.partial.place(number)
        if not file.size:
            names = names_of(b"")
            intake.archive.put(intake.writer, b"", names)
        else:
            names, new = store_file(intake, place, file.path, self.control, ours=True)
            if (names.size, file.root or names.merkle_root) != (file.size, names.merkle_root):
                raise _changed(file.path)
            self.control.emit(FileDone(file.path, names.size, names.sha256.hex, already=not new))
        return _entry(file.path, names)

    def _restore(self, intake: Intake, whole: Link) -> FileEntry:
        """The blob of a payload: its plain bytes, or what its capsule decodes to."""
        root, _ = whole.payload or (Digest(whole.name), 0)
        tree, cancel = whole.trees.get(root), self.control.cancel
        names = take_if_capsule(intake, self.partial.place(0), tree, cancel)
        return self._file(intake, 0, whole) if names is None else _entry(names.sha256.hex, names)

    def _check_old(self, whole: Link, entries: Sequence[FileEntry]) -> None:
        """Version 1 has no roots to compare, so the archived files are hashed once more."""

        def chunks(number: int) -> Iterator[memoryview]:
            digest = entries[number].sha256
            assert digest is not None
            with self.archive.open_blob(digest) as blob:
                yield from blob.chunks()

        V1Pieces.of(whole.info).check(chunks, self.control.cancel)


def _put(
    archive: Archive,
    writer: WriteSession,
    shape: PulledLink,
    entries: Sequence[FileEntry],
    control: Control,
    *,
    strict: bool,
) -> PulledLink:
    """Makes the archived files a revision. Records its link first."""
    repo = shape.repo
    revision = Revision.of(repo, None, entries)
    require_revision(archive, Action.PULL, revision, source=shape.link)
    shape = _judged(archive, replace(shape, revision=revision), control, strict=strict)
    about = archive.refs.about(repo).with_link(revision.id, shape.link)
    archive.refs.put_about(writer, repo, replace(about, private=about.private or shape.restricted))
    digest = archive.put_revision(writer, revision)
    archive.refs.put(writer, repo, Ref(shape.ref, revision.id))
    return replace(shape, manifest=digest, held=held_bytes(archive, entries))


def _judged(archive: Archive, shape: PulledLink, control: Control, *, strict: bool) -> PulledLink:
    """The result with warnings of files that are not what their names say; if `strict`, raises
    :class:`SuspectContentError`.
    """
    assert shape.revision is not None
    suspects = Suspects(archive).of(shape.revision, strict=strict)
    if strict:
        refuse(suspects)
    warn(control, suspects)
    return replace(shape, suspects=tuple(suspects))


def _payload_here(archive: Archive, link: Link) -> Digest | None:
    """The blob of the payload that a link names, if the archive holds it."""
    found = payloads.by_root(archive, link.payload[0]) if link.payload is not None else None
    return found.blob if found is not None else None


def _take_here(
    archive: Archive, target: Target, link: Link, blob: Digest, control: Control, *, strict: bool
) -> PulledLink:
    """A revision of a payload that the archive holds under another name."""
    free = disk.free_bytes(archive.layout.home)
    with archive.writer() as writer:
        names = names_here(archive, blob, control.cancel)
        writer.lease(blob, names.size)
        shape = PulledLink(target.repo, target.ref or "main", bare(link), 1, names.size, free)
        plain = names.merkle_root is not None and names.merkle_root.hex == link.name
        entries = [_entry(link.name if plain else blob.hex, names)]
        return _put(archive, writer, shape, entries, control, strict=strict)


def _together(one: Link, other: Link) -> Link:
    """`one` with the trackers and web seeds of both."""
    return replace(
        one,
        trackers=tuple(dict.fromkeys((*one.trackers, *other.trackers))),
        web_seeds=tuple(dict.fromkeys((*one.web_seeds, *other.web_seeds))),
    )


def _refuse(failure: tuple[int, str] | None) -> None:
    """Raises the error that the disk reported, if any."""
    if failure is None:
        return
    number, text = failure
    if number in {errno.ENOSPC, errno.EDQUOT}:
        raise DiskFullError(f"the disk has no space for the files of the link: {text}")
    raise StorageError(f"the files of the link cannot be written: {text}")


def _entry(path: str, names: Names) -> FileEntry:
    return FileEntry(path, names.size, names.sha256, names.git_sha1, names.merkle_root)


def _changed(path: str) -> CorruptError:
    return CorruptError(
        f"{path} changed on the disk after it was fetched", hint="pull the link again"
    )
