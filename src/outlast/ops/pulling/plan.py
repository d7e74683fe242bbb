"""What a pull will do: a commit's files beside those that the archive has."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import DiskFullError, MalformedError, NotFoundError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.core.sizes import human_size
from outlast.fetch.file_filter import Selection
from outlast.fetch.known_lists import confirmed, is_doubted, not_noted
from outlast.fetch.tuning import TUNING as FETCH_TUNING
from outlast.sources.base import Listing
from outlast.store.archive import Archive
from outlast.store.garbage.trash import room_hint
from outlast.store.partials import present_bytes

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PullPlan:
    """What a pull will do. Sizes are in bytes; interrupted downloads left `resumed` of them.
    `refused` are names in the listing that no archive can have: those files are left out. Of the
    files that globs exclude, the revision lacks those that are `left_out`: it gets those whose
    bytes are in the archive already.
    """

    repo: RepoId
    ref: str
    commit: GitOid
    source: str
    wanted: tuple[FileEntry, ...]
    excluded: tuple[FileEntry, ...]
    here: tuple[FileEntry, ...]
    to_fetch: tuple[FileEntry, ...]
    fetch_bytes: int
    resumed: int
    free: int
    unlisted: bool = False
    refused: tuple[str, ...] = ()
    left_out: tuple[FileEntry, ...] = ()
    told_by: str = ""
    """The node on the LAN whose word alone all of this is, if it is."""

    @property
    def partial(self) -> bool:
        """Whether files of the commit are left out, or may be."""
        return self.unlisted or bool(self.left_out)

    @property
    def total_bytes(self) -> int:
        return sum(entry.size for entry in self.wanted)

    @property
    def present_bytes(self) -> int:
        """What is here of the wanted files."""
        return sum(entry.size for entry in self.here) + self.resumed

    @property
    def paths(self) -> set[str]:
        """All paths of the commit, also those that are left out."""
        return {entry.path for entry in (*self.wanted, *self.excluded)}

    @property
    def fits(self) -> bool:
        return (
            not self.to_fetch or self.fetch_bytes - self.resumed + FETCH_TUNING.reserve <= self.free
        )


def make_plan(
    archive: Archive, listing: Listing, ref: str, source: str, selection: Selection, *, free: int
) -> PullPlan:
    """Compares a listing, which has safe names alone, with the archive."""
    wanted, excluded = selection.split(listing.entries)
    if listing.entries and not wanted:
        raise NotFoundError(
            f"no file of {listing.repo} matches", hint=f"check {selection.written_as}"
        )
    _check_sizes(wanted)
    held = {} if (old := archive.load(listing.repo, listing.commit)) is None else _by_path(old)
    doubted = is_doubted(archive, listing.repo, listing.commit, listing.told_by)
    if doubted:
        held = confirmed(archive, held, wanted)
    here: list[FileEntry] = []
    to_fetch: list[FileEntry] = []
    ownership = archive.ownership()
    for entry in wanted:
        known = held.get(entry.path)
        if known is None and not (doubted and entry.sha256 is None):
            known = archive.known(entry)
        if (
            known is not None
            and archive.holds(known)
            and not _contradicts(known, entry)
            and known.sha256 is not None
            and (entry.path in held or ownership.is_free_for(listing.repo, known.sha256))
        ):
            here.append(replace(known, path=entry.path))
        else:
            to_fetch.append(entry)
    resumed = {e.key: present_bytes(archive.layout, e.key, e.size) for e in to_fetch}
    return PullPlan(
        repo=listing.repo,
        ref=ref,
        commit=listing.commit,
        source=source,
        wanted=tuple(wanted),
        excluded=tuple(excluded),
        here=tuple(here),
        to_fetch=tuple(to_fetch),
        fetch_bytes=sum({e.key: e.size for e in to_fetch}.values()),
        resumed=sum(resumed.values()),
        free=free,
        unlisted=listing.unlisted,
        told_by=listing.told_by,
    )


def log_plan(plan: PullPlan) -> None:
    """Says what the pull was decided to be, and why the result is partial where it is."""
    named = f"{plan.repo}@{plan.ref}"
    _log.info(
        "%s is commit %s, as %s says: it was the first to know it", named, plan.commit, plan.source
    )
    _log.info(
        "%d files are wanted: %d are in the archive, %d must be fetched (%d bytes, %d of them left "
        "by an interrupted download); %d bytes are free",
        len(plan.wanted),
        len(plan.here),
        len(plan.to_fetch),
        plan.fetch_bytes,
        plan.resumed,
        plan.free,
    )
    for entry in plan.to_fetch:
        _log.debug("fetch %s: no intact copy with its digest is in the archive", entry.path)
    if plan.left_out:
        left_out = len(plan.left_out)
        _log.info("the revision is partial: --include and --exclude leave out %d files", left_out)
    if plan.unlisted:
        _log.info("the revision is partial: %s gave no whole list of files", plan.source)


def require_room(archive: Archive, plan: PullPlan) -> None:
    """Raises :class:`DiskFullError` where the files do not fit."""
    if not plan.fits:
        raise DiskFullError(
            f"{plan.repo} needs {human_size(plan.fetch_bytes - plan.resumed)} more, and "
            f"{human_size(FETCH_TUNING.reserve)} have to stay free; {human_size(plan.free)} are "
            f"free in {archive.layout.home}",
            hint=room_hint(archive.layout),
        )


def left_out_of(archive: Archive, plan: PullPlan) -> tuple[FileEntry, ...]:
    """Which of the excluded files the revision will lack. (`strict` may leave out more of them.)"""
    if not plan.excluded:
        return ()
    known = archive.load(plan.repo, plan.commit)
    if known is not None and sealed_as(archive, plan) is not None:
        return tuple(entry for entry in plan.excluded if entry.path not in _by_path(known))
    return tuple(not_noted(archive, plan.repo, plan.commit, plan.excluded, plan.told_by))


def sealed_as(archive: Archive, plan: PullPlan) -> tuple[Digest, bool] | None:
    """The manifest that lists every wanted file already, and whether it is partial."""
    digests = archive.index.manifests_of(plan.repo, plan.commit)
    revision = archive.load(plan.repo, plan.commit)
    if plan.to_fetch or not digests or revision is None or revision.digest != digests[0]:
        return None
    if archive.drafts.exists(plan.repo, plan.commit):  # sealing drops the draft
        return None
    if revision.unlisted or is_doubted(archive, plan.repo, plan.commit, plan.told_by):
        return None  # the source has listed the commit now
    wanted = {entry.path for entry in plan.wanted}
    return (digests[0], revision.partial) if wanted <= _by_path(revision).keys() else None


def whole_again(archive: Archive, plan: PullPlan, entry: FileEntry) -> FileEntry | None:
    """A file whose bytes are here after all, because what they depend on was mended."""
    known = archive.known(entry)
    if known is None or known.sha256 is None or not archive.holds(known):
        return None
    doubted = is_doubted(archive, plan.repo, plan.commit, plan.told_by)
    if doubted or _contradicts(known, entry) or not archive.is_free_for(plan.repo, known.sha256):
        return None
    return replace(known, path=entry.path)


def is_new(archive: Archive, plan: PullPlan) -> bool:
    """Whether the archive has nothing by this name yet."""
    known = archive.refs.read(plan.repo)
    return not known.damaged and archive.find_commit(plan.repo, plan.ref) is None


def _check_sizes(entries: Sequence[FileEntry]) -> None:
    """Refuses a listing that gives one digest two sizes."""
    sizes: dict[str, int] = {}
    for entry in entries:
        if sizes.setdefault(entry.key, entry.size) != entry.size:
            raise MalformedError(f"the listing gives two sizes for the bytes of {entry.path!r}")


def _by_path(revision: Revision) -> dict[str, FileEntry]:
    return {entry.path: entry for entry in revision.files}


def _contradicts(known: FileEntry, entry: FileEntry) -> bool:
    return (known.size, known.git_sha1) != (entry.size, entry.git_sha1) or (
        entry.sha256 is not None and known.sha256 != entry.sha256
    )
