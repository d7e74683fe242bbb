"""Share: magnet links and .torrent files of a revision, for ordinary BitTorrent clients."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from outlast.codec.payload import Form
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import PolicyError, TakenDownError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, Target
from outlast.core.policy import Action
from outlast.intake.judging import require_revision
from outlast.node import payloads
from outlast.node import shared_torrents as shares
from outlast.node.make_torrent import whole_torrent
from outlast.node.policy import SharePolicy
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.records.facts import About
from outlast.swarm.torrent import payload_torrent as metainfo
from outlast.swarm.torrent.magnet import Link
from outlast.swarm.torrent.revision_torrent import RevisionTorrent, V1Torrent

_log = logging.getLogger(__name__)

_MODE = 0o644


@dataclass(frozen=True, slots=True)
class ShareWishes:
    """What to write, and to which folder. `web_seeds` are hubs, mirrors or nodes
    (``https://host``) that serve the revision; the default are those of `public_hubs` that its refs
    came from.
    `blobs`: also share each file by itself, in its stored form. `old`: also write a torrent of
    version 1 alone. `restricted`: share even if the policy forbids it. `seeds`: running nodes seed
    the torrents from now on.
    """

    out: Path
    blobs: bool = False
    old: bool = False
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    public_hubs: tuple[str, ...] = ()
    restricted: bool = False
    seeds: bool = False


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file of the revision, of `size` bytes, stored as `payload_bytes` in this `form`. `infohash`
    is that of the payload's torrent; None if the file is empty or its merkle tree is not known yet.
    `torrent` is the .torrent file of the payload.
    """

    path: str
    size: int
    form: Form
    payload_bytes: int
    root: Digest | None
    infohash: bytes | None
    torrent: Path | None = None


@dataclass(frozen=True, slots=True)
class Shared:
    """The result. `link` and `torrent` are of the whole revision; `old` is both of version 1 alone.
    `against` says why the policy forbids to share it; empty if it does not.
    """

    revision: Revision
    link: Link
    torrent: Path
    files: tuple[SharedFile, ...]
    old: tuple[Link, Path] | None = None
    against: str = ""


def share(
    archive: Archive, target: Target, wishes: ShareWishes, policy: SharePolicy, control: Control
) -> Shared:
    """Writes the torrents of `target`. Raises :class:`PolicyError` if the policy forbids it,
    :class:`TakenDownError` if a notice does, and as
    :func:`outlast.node.make_torrent.whole_torrent` does.
    """
    revision = archive.revision(target.repo, target.ref)
    require_revision(archive, Action.SHARE, revision)
    archive.cached.keep(revision.repo, revision.id)
    _refuse_stopped(archive, revision)
    against = _against(policy, revision, archive.refs.about(revision.repo))
    if against and not wishes.restricted:
        raise PolicyError(
            f"{revision.repo} is not shared: {against}",
            hint="--restricted shares it anyway; anyone with the link can then ask for the files",
        )
    if against:
        _log.info("%s is shared although %s: --restricted was given", revision.repo, against)
    made = whole_torrent(archive, revision, control, old=wishes.old)
    hubs = wishes.web_seeds or (() if against else _hubs(archive, revision, wishes.public_hubs))
    extras = _Extras(
        wishes.trackers, tuple(f"{hub}/{revision.repo.hub_path}/resolve/" for hub in hubs)
    )
    name = torrent_name(revision)
    with disk.reporting(wishes.out):
        wishes.out.mkdir(parents=True, exist_ok=True)
    found = tuple(_file(archive, e, wishes, wishes.out / name, control) for e in revision.files)
    link, torrent = extras.write(made.whole, made.whole.infohash_v2, wishes.out / f"{name}.torrent")
    old = extras.write(made.old, None, wishes.out / f"{name}.v1.torrent") if made.old else None
    if wishes.seeds:
        both = (made.whole, made.old) if made.old is not None else (made.whole,)
        shares.register(archive, revision, [extras.file(each) for each in both])
    return Shared(revision, link, torrent, found, old, against)


@dataclass(frozen=True, slots=True)
class _Extras:
    """The parts of a link and its .torrent file that do not change the infohash."""

    trackers: tuple[str, ...]
    web_seeds: tuple[str, ...]

    def file(self, made: RevisionTorrent | V1Torrent) -> bytes:
        return made.file(trackers=self.trackers, web_seeds=self.web_seeds)

    def write(
        self, made: RevisionTorrent | V1Torrent, infohash_v2: bytes | None, path: Path
    ) -> tuple[Link, Path]:
        _write(path, self.file(made))
        name = path.name.removesuffix(".torrent").removesuffix(".v1")
        link = Link(
            infohash_v2,
            made.infohash_v1,
            name=name,
            size=made.size,
            trackers=self.trackers,
            web_seeds=self.web_seeds,
        )
        return link, path


def _against(policy: SharePolicy, revision: Revision, about: About) -> str:
    """Why the policy forbids to share the revision; empty if it does not."""
    size = sum(entry.size for entry in (*revision.files, *revision.missing))
    if not policy.shares(revision.repo, size):
        return "the settings in [share] leave it out"
    if (about.private or about.gated) and not policy.restricted:
        return f"it is {'private' if about.private else 'gated'} at its hub"
    return ""


def _refuse_stopped(archive: Archive, revision: Revision) -> None:
    notice = archive.refs.about(revision.repo).notice
    if notice is not None and notice.stopped:
        raise TakenDownError(f"{revision.repo} is not given out: {notice.reason}")


def _hubs(archive: Archive, revision: Revision, known: tuple[str, ...]) -> tuple[str, ...]:
    """The hubs in `known` that a ref of this revision came from. The URLs of other hubs may be
    internal to a network, and are not published.
    """
    refs = [ref for ref in archive.refs.list(revision.repo) if ref.commit == revision.id]
    return tuple(hub for hub in known if any(ref.source == hub for ref in refs))


def torrent_name(revision: Revision) -> str:
    """The name of a revision's torrent: ``org--name-<12 digits of the commit>``."""
    return f"{_flat(revision.repo)}-{revision.id.hex[:12]}"


def _flat(repo: RepoId) -> str:
    return str(repo).replace("/", "--")


def _file(
    archive: Archive, entry: FileEntry, wishes: ShareWishes, folder: Path, control: Control
) -> SharedFile:
    assert entry.sha256 is not None, "a manifest names every file that is here"
    form = archive.form_of(entry.sha256)
    if not entry.size:
        return SharedFile(entry.path, 0, form.form, form.stored_bytes, None, None)
    if not wishes.blobs:
        held = payloads.held(archive, entry.sha256)
        root = held[0].root if held else None
        infohash = metainfo.infohash_of(root, form.stored_bytes) if root is not None else None
        return SharedFile(entry.path, entry.size, form.form, form.stored_bytes, root, infohash)
    kind = Form.PLAIN if form.form is Form.PLAIN else Form.CAPSULE
    tree = payloads.tree(archive, entry.sha256, kind, control.cancel)
    file = folder / f"{tree.root}.torrent"
    with disk.reporting(folder):
        folder.mkdir(exist_ok=True)
    _write(file, metainfo.torrent(tree, trackers=wishes.trackers))
    infohash = metainfo.infohash(tree)
    return SharedFile(entry.path, entry.size, form.form, tree.size, tree.root, infohash, file)


def _write(path: Path, data: bytes) -> None:
    """Writes a file atomically; replaces an older file of that name."""
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk.reporting(path):
        try:
            disk.write_temp(temp, data, _MODE)
            os.replace(temp, path)
        except BaseException:
            disk.remove(temp)
            raise
