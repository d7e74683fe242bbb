"""Seeds the payloads of an archive to other nodes, from where they lie."""

from collections.abc import Iterable

from outlast.codec.payload import Payload
from outlast.core.cancel import Cancel
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, MalformedError, NotArchivedError
from outlast.core.events import Emit, FileProblem
from outlast.node import payloads
from outlast.node.policy import Sharing
from outlast.store.archive import Archive
from outlast.swarm.client.session import TorrentSession


class Seeder:
    """Follows what may be shared. `follow` is for one thread, everything else for any."""

    def __init__(
        self,
        archive: Archive,
        sharing: Sharing,
        session: TorrentSession,
        emit: Emit,
        cancel: Cancel,
    ) -> None:
        self._archive = archive
        self._sharing = sharing
        self._session = session
        self._emit = emit
        self._cancel = cancel
        self._seeded: dict[Digest, Payload] = {}
        self._stamps: dict[Digest, str] = {}
        self._damaged: dict[Digest, str] = {}
        """The stamps of files that are damaged, by their roots; by their blobs where those are not
        known."""
        self._offered: set[Digest] = set()
        self._seen_version = -1

    def __len__(self) -> int:
        return len(self._seeded)

    def payload(self, root: Digest) -> Payload | None:
        """The payload that is seeded under a root."""
        return self._seeded.get(root)

    def follow(self) -> None:
        """Seeds what is new and stops what is gone, if anything changed."""
        if self._sharing.version != self._seen_version:
            self._seed_all()

    def damaged(self, root: Digest) -> Payload | None:
        """The payload under this root is damaged: it is not seeded again before its file changes.
        Returns it.
        """
        payload = self._seeded.get(root)
        if payload is not None:
            self._damaged[root] = self._stamps.get(root, "")
        return payload

    def _seed_all(self) -> None:
        """Seeds what may be shared, and stops what may not or is gone. Then reads the blobs whose
        tree is not known, until something changes.
        """
        version = self._sharing.version
        blobs = self._sharing.blobs()
        wanted: set[Digest] = set()
        unread: list[Digest] = []
        for blob, restricted in blobs.items():
            self._cancel.check()
            held = payloads.held(self._archive, blob)
            if not held:
                unread.append(blob)
            elif not self._is_damaged(held[0].root, blob):
                wanted.add(held[0].root)
                self.seed(held[0], restricted=restricted)
        for root in self._offered - wanted:  # what just came is not listed yet, and stays
            self._unseed(root)
        self._offered = wanted
        for blob in unread:
            if self._sharing.version != version:
                return
            payload = self._read(blob)
            if payload is not None:
                self.seed(payload, restricted=blobs[blob])
                wanted.add(payload.root)
        self._seen_version = version

    def _is_damaged(self, name: Digest, blob: Digest) -> bool:
        """Whether the file that holds a blob still is the one that was found damaged."""
        return name in self._damaged and self._damaged[name] == payloads.stamp(self._archive, blob)

    def _read(self, blob: Digest) -> Payload | None:
        """What holds a blob whose tree is not known: reads it."""
        if self._is_damaged(blob, blob):
            return None
        try:
            form = self._archive.form_of(blob).form
            payloads.tree(self._archive, blob, form, self._cancel)
            held = payloads.held(self._archive, blob)
        except NotArchivedError:
            return None
        except (CorruptError, MalformedError) as error:
            self._damaged[blob] = payloads.stamp(self._archive, blob)
            self._emit(FileProblem(blob.hex, str(error), error.code))
            return None
        return held[0] if held else None

    def seed(
        self, payload: Payload, *, restricted: bool, peers: Iterable[tuple[str, int]] = ()
    ) -> None:
        """Offers a payload, if it is not offered yet and may be. `peers` are told at once."""
        if not self._sharing.allows_capsule(payload.bases, trusted=True):
            return
        restricted |= not self._sharing.allows_capsule(payload.bases, trusted=False)
        torrent = self._session.torrent(payload.root)
        if (
            torrent is not None
            and torrent.seeds
            and torrent.restricted != (restricted or self._session.private)
        ):
            torrent.close()
            torrent = None
        if torrent is None:
            tree = self._archive.tree(payload.blob, payload.form)
            if tree is None or tree.root != payload.root:
                return
            path = payloads.path(self._archive, payload)
            torrent = self._session.seed(tree, path, restricted=restricted)
            self._stamps[payload.root] = payloads.stamp_of_file(path)
            self._seeded[payload.root] = payload
        torrent.connect(peers)

    def _unseed(self, root: Digest) -> None:
        self._seeded.pop(root, None)
        self._stamps.pop(root, None)
        torrent = self._session.torrent(root)
        if torrent is not None and torrent.seeds:
            torrent.close()
