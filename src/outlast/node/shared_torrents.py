"""The torrents of revisions that the operator has shared: running nodes seed them until --stop."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from outlast.core.digest import GitOid
from outlast.core.errors import MalformedError, OutlastError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.swarm.torrent import bencode
from outlast.swarm.torrent.magnet import Link
from outlast.swarm.torrent.read import read_torrent

_NOTE: Final = b"outlast"
_REPO: Final = b"repo"


@dataclass(frozen=True, slots=True)
class SharedTorrent:
    """A registered torrent: its infohash in hex, of version 2 where it has one, the .torrent file
    and what that says, and the revision that it is of.
    """

    infohash: str
    torrent: bytes
    link: Link
    repo: RepoId
    commit: GitOid


def register(archive: Archive, revision: Revision, torrents: Iterable[bytes]) -> None:
    """Registers .torrent files of a revision: running nodes seed them."""
    with archive.writer() as writer:
        for data in torrents:
            document = _dict(bencode.decode(data))
            note = {_REPO: str(revision.repo).encode()}
            archive.shares.put(writer, _infohash(read_torrent(data)), _with(document, note))


def load(archive: Archive, infohash: str) -> SharedTorrent | None:
    """A registered torrent; None where there is none. Raises :class:`MalformedError`."""
    data = archive.shares.get(infohash)
    if data is None:
        return None
    link = read_torrent(data)
    note = _dict(_dict(bencode.decode(data)).get(_NOTE))
    repo = note.get(_REPO)
    if _infohash(link) != infohash or not isinstance(repo, bytes):
        raise MalformedError(f"the shared torrent {infohash[:16]}… is not what its name says")
    return SharedTorrent(
        infohash, data, link, RepoId.parse(repo.decode(errors="replace")), GitOid(link.name)
    )


def stop(
    archive: Archive, repo: RepoId, commits: list[GitOid] | None = None
) -> list[SharedTorrent]:
    """Stops sharing the torrents of a model, or of some of its revisions; returns them."""
    stopped = []
    for share in registered(archive):
        if share.repo == repo and (commits is None or share.commit in commits):
            archive.shares.delete(share.infohash)
            stopped.append(share)
    return stopped


def registered(archive: Archive) -> Iterator[SharedTorrent]:
    """All torrents that are shared; unreadable ones are left out."""
    for infohash in archive.shares.stamps():
        try:
            share = load(archive, infohash)
        except OutlastError:  # nodes tell of it
            continue
        if share is not None:
            yield share


def _infohash(link: Link) -> str:
    found = link.infohash_v2 or link.infohash_v1
    assert found is not None, "a torrent has an infohash"
    return found.hex()


def _with(document: dict[bytes, bencode.Value], note: dict[bytes, bytes]) -> bytes:
    return bencode.encode({**document, _NOTE: {**note}})


def _dict(value: bencode.Value | None) -> dict[bytes, bencode.Value]:
    if not isinstance(value, dict):
        raise MalformedError("a shared torrent has no note of what it is")
    return value
