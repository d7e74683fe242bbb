"""Share: torrents and links of a revision, to hand to people."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from outlast.codec.payload import Form
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import PolicyError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, Target
from outlast.node import payloads
from outlast.node import shared_torrents as shares
from outlast.node.make_torrent import whole_torrent
from outlast.node.policy import SharePolicy
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.refs import About
from outlast.swarm.torrent import payload_torrent as metainfo
from outlast.swarm.torrent.magnet import Link
from outlast.swarm.torrent.revision_torrent import RevisionTorrent, V1Torrent

_log = logging.getLogger(__name__)

_MODE = 0o644


@dataclass(frozen=True, slots=True)
class ShareWishes:
    """What to make, and where. `web_seeds` are hubs, mirrors or nodes (``https://host``) that serve
    the revision; where none is named, those of `public_hubs` are that the refs came from. With
    `blobs`, the files are also shared one by one, in the form that they have here; with `old`, the
    revision also by a torrent of version 1 alone. `restricted` allows what the policy does not.
    With `seeds`, running nodes seed the torrents of the revision from then on.
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
    """A file of the revision, of `size` bytes, and its payload here: `payload_bytes` in this
    `form`. `infohash` names the payload's torrent; None where the file is empty, or its tree is
    not known yet. `torrent` is the file that was written for it.
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
    """What came out. `link` is that of the whole revision and `torrent` its file, `old` both of
    version 1 alone; `against` says why the policy does not allow it, where it was shared all the
    same.
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
    """Writes the torrents of `target`. Raises :class:`PolicyError` where the policy is against it;
    else as :func:`outlast.node.make_torrent.whole_torrent` does.
    """
    revision = archive.revision(target.repo, target.ref)
    against = _against(policy, revision, archive.refs.about(revision.repo))
    if against and not wishes.restricted:
        raise PolicyError(
            f"{revision.repo} is not shared: {against}",
            hint="--restricted makes its torrents all the same; who has them can ask for the files",
        )
    if against:
        _log.info("%s is shared although %s: --restricted was given", revision.repo, against)
    made = whole_torrent(archive, revision, control, old=wishes.old)
    hubs = wishes.web_seeds or (() if against else _hubs(archive, revision, wishes.public_hubs))
    more = _More(wishes.trackers, tuple(f"{hub}/{revision.repo.hub_path}/resolve/" for hub in hubs))
    name = torrent_name(revision)
    with disk.reporting(wishes.out):
        wishes.out.mkdir(parents=True, exist_ok=True)
    found = tuple(_file(archive, e, wishes, wishes.out / name, control) for e in revision.files)
    link, torrent = more.write(made.whole, made.whole.infohash_v2, wishes.out / f"{name}.torrent")
    old = more.write(made.old, None, wishes.out / f"{name}.v1.torrent") if made.old else None
    if wishes.seeds:
        both = (made.whole, made.old) if made.old is not None else (made.whole,)
        shares.register(archive, revision, [more.file(each) for each in both])
    return Shared(revision, link, torrent, found, old, against)


@dataclass(frozen=True, slots=True)
class _More:
    """What goes into a link and its file beside the infohash."""

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
    """Why this is not for everybody; empty where it is."""
    size = sum(entry.size for entry in (*revision.files, *revision.missing))
    if not policy.shares(revision.repo, size):
        return "the settings in [share] leave it out"
    if (about.private or about.gated) and not policy.restricted:
        return f"it is {'private' if about.private else 'gated'} at its hub"
    return ""


def _hubs(archive: Archive, revision: Revision, known: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the hubs `known` that said that a ref is this revision. Others may be names inside
    of somebody's network, which are nobody else's business.
    """
    refs = [ref for ref in archive.refs.list(revision.repo) if ref.commit == revision.id]
    return tuple(hub for hub in known if any(ref.source == hub for ref in refs))


def torrent_name(revision: Revision) -> str:
    """What a revision's torrent is called where people see it: ``org--name-<12 of the commit>``."""
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
    """A whole file, or none; another of its name is replaced."""
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk.reporting(path):
        try:
            disk.write_temp(temp, data, _MODE)
            os.replace(temp, path)
        except BaseException:
            disk.remove(temp)
            raise
