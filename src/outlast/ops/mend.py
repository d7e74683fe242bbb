"""Mend: restores damaged small files of an archive, or sets them aside and says what is lost."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from outlast.core.digest import GitOid
from outlast.core.errors import CorruptError
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.layout import FORMAT, MARKER, Layout
from outlast.store.records.facts import UNREADABLE, About
from outlast.store.records.refs import ABOUT
from outlast.store.records.set_aside import set_aside
from outlast.store.records.survey import DamagedRecord, Kind, check_body, survey
from outlast.store.records.unconfirmed import Told
from outlast.store.writer import WriteSession

_log = logging.getLogger(__name__)

_OLD_MARKER: Final = b'{"outlast-archive": 2}\n'
_CHECK: Final = b"check "


class Fate(StrEnum):
    """What became of a damaged file: it is as it was; or all that is left of it is in quarantine,
    and `lost` says what is not known any more.
    """

    RESTORED = "restored"
    SET_ASIDE = "set-aside"


@dataclass(frozen=True, slots=True)
class Mended:
    """A file that was damaged (its path in the archive), what became of it, and what is lost."""

    name: str
    outcome: Fate
    lost: str = ""


def mend(home: Path) -> Iterator[Mended]:
    """Mends the small files of the archive at `home`, one after the other. Nothing is deleted:
    what is damaged is moved to the quarantine. Nothing becomes public or complete by it.
    """
    yield from _marker(Layout(home))
    with Archive(home) as archive, archive.writer() as writer:
        work = _Mending(archive, writer)
        for damage in survey(archive).damaged:
            _log.info("mending: %s", damage.text)
            yield work.mend(damage)
        work.refresh()


def _marker(layout: Layout) -> Iterator[Mended]:
    """Comes before all else: without a marker nothing may be written."""
    marker = layout.read_marker()
    if not marker.problem or not (
        layout.marker.exists() or layout.second_of(layout.marker).exists()
    ):
        return  # it is intact, or there is no archive
    with WriteSession(layout) as session:
        if layout.marker.exists():
            set_aside(layout, layout.marker, keep=True)
        if marker.version < FORMAT:  # the first writer brings it up to date
            session.write(layout.marker, _OLD_MARKER)
        else:
            session.write_twice(layout.marker, MARKER, disk.READ_ONLY)
    yield Mended(layout.name_of(layout.marker), Fate.RESTORED)


class _Mending:
    def __init__(self, archive: Archive, writer: WriteSession) -> None:
        self._archive = archive
        self._layout = archive.layout
        self._records = archive.records
        self._writer = writer

    def mend(self, damage: DamagedRecord) -> Mended:
        path = self._layout.home / damage.name
        match damage.kind:
            case Kind.MARKER:
                self._writer.write_twice(path, MARKER, disk.READ_ONLY)
                return Mended(damage.name, Fate.RESTORED)
            case Kind.REF:
                return self._ref(damage, path)
            case Kind.ABOUT:
                return self._about(damage, path)
            case Kind.DRAFT:
                return self._draft(damage)
            case Kind.UNCONFIRMED:
                return self._mark(damage, path)
            case Kind.SHARE:
                set_aside(self._layout, path)
                lost = "that this torrent is shared; 'outlast share' registers it again"
                return Mended(damage.name, Fate.SET_ASIDE, lost)

    def refresh(self) -> None:
        """Makes second copies anew that are missing or differ, as a crash may leave them."""
        refs = disk.matching(self._layout.refs, "*", "*", "*", "*")
        for path in (*refs, *self._archive.unconfirmed.paths()):
            if path.is_file() and (path.name == ABOUT or not path.name.startswith(".")):
                with contextlib.suppress(CorruptError, FileNotFoundError):
                    if self._records.read(path) != self._records.read_second(path):
                        self._restored(path)

    def _ref(self, damage: DamagedRecord, path: Path) -> Mended:
        if self._restored(path):
            return Mended(damage.name, Fate.RESTORED)
        assert damage.repo is not None
        self._drop(path)
        disk.touch(self._layout.refs)
        target = f"{damage.repo}@{damage.ref}"
        lost = f"where {target} pointed; 'outlast pull {target}' asks its source"
        if commits := self._archive.commits(damage.repo):
            short = ", ".join(commit.hex[:12] for commit in commits[:3])
            more = ", …" if len(commits) > 3 else ""
            lost = f"{lost}; its revisions are here as before: {short}{more}"
        return Mended(damage.name, Fate.SET_ASIDE, lost)

    def _about(self, damage: DamagedRecord, path: Path) -> Mended:
        assert damage.repo is not None
        if self._restored(path, like=_readable(path)):
            return Mended(damage.name, Fate.RESTORED)
        self._drop(path)
        self._archive.refs.put_about(self._writer, damage.repo, UNREADABLE)
        lost = (
            f"what its hub says of {damage.repo}: it counts as private until "
            f"'outlast pull {damage.repo}' asks again"
        )
        return Mended(damage.name, Fate.SET_ASIDE, lost)

    def _mark(self, damage: DamagedRecord, path: Path) -> Mended:
        assert damage.repo is not None
        if self._restored(path):
            return Mended(damage.name, Fate.RESTORED)
        self._drop(path)
        commit = GitOid(path.name)
        self._archive.unconfirmed.put(self._writer, damage.repo, commit, Told())
        lost = f"which node on the LAN listed the files of {damage.repo}@{commit}"
        return Mended(damage.name, Fate.SET_ASIDE, lost)

    def _draft(self, damage: DamagedRecord) -> Mended:
        repo, commit = damage.repo, damage.commit
        assert repo is not None
        assert commit is not None
        salvaged = self._archive.drafts.salvage(self._writer, repo, commit)
        target = f"{repo}@{commit}"
        if salvaged is None:  # sealed or removed meanwhile
            return Mended(damage.name, Fate.RESTORED)
        if salvaged.revision is None:
            lost = f"the draft; 'outlast pull {target}' begins it again; its bytes are here"
        elif damage.lines_only:
            lost = f"which files had come last; 'outlast pull {target}' completes it"
        else:
            lost = f"a part of the list of files; 'outlast pull {target}' completes it"
        return Mended(damage.name, Fate.SET_ASIDE, lost)

    def _restored(self, path: Path, like: About | None = None) -> bool:
        """Makes both copies of a file the one that is intact, if one is. Of what is known of a
        model, the copy that opens less counts: `like` is what the damaged one seems to say.
        """
        with disk.reporting(path), disk.locked(self._layout.lock, exclusive=True):
            body, is_first = self._intact(path)
            if body is None:
                return False
            if not is_first and path.exists():
                set_aside(self._layout, path, keep=True)
            if like is not None and not is_first:
                second = About.decode(body)
                private = second.private or like.private
                less = replace(second, private=private, gated=second.gated or like.gated)
                body = less.with_notice(second.notice or like.notice).encode()
            self._records.publish_twice(self._writer, path, body)
        disk.touch(self._layout.refs)
        return True

    def _intact(self, path: Path) -> tuple[bytes | None, bool]:
        """The body of a copy that is intact, and whether that is the first."""
        try:
            body = self._records.read(path)
            check_body(path, body)
        except (CorruptError, FileNotFoundError):
            second = self._records.read_second(path)
        else:
            return body, True
        try:
            if second is not None:
                check_body(path, second)
        except CorruptError:
            second = None
        return second, False

    def _drop(self, path: Path) -> None:
        """Sets both copies of a file aside."""
        for each in (self._layout.second_of(path), path):
            with disk.reporting(each):
                if each.exists():
                    set_aside(self._layout, each)


def _readable(path: Path) -> About | None:
    """What a damaged file seems to say of a model. It may only take away."""
    try:
        with open(path, "rb") as file:
            return About.decode(file.read(1 << 20).rpartition(_CHECK)[0])
    except (OSError, CorruptError):
        return None
