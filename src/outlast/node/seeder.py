"""Seeds the payloads of an archive to other nodes, from where they lie."""

import contextlib
import os
from collections.abc import Iterable, Mapping

from outlast.codec.payload import Form, Payload
from outlast.core.cancel import Cancel
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, DamagedError, MalformedError, NotArchivedError
from outlast.core.events import Emit, FileProblem
from outlast.core.ratelimit import TokenBucket
from outlast.node import payloads
from outlast.node.policy import Sharing
from outlast.node.tuning import TUNING
from outlast.store.archive import Archive
from outlast.store.soundness.damage import Damage, Why
from outlast.store.uses import file_name
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
        self._pace = TokenBucket(TUNING.compare_rate)
        self._seen: object = None

    def __len__(self) -> int:
        return len(self._seeded)

    def payload(self, root: Digest) -> Payload | None:
        """The payload that is seeded under a root."""
        return self._seeded.get(root)

    def follow(self) -> None:
        """Seeds what is new and stops what is gone, or is damaged, if anything changed."""
        damage = self._archive.damage.all()
        if (self._sharing.version, damage) != self._seen:
            self._seed_all(damage)

    def damaged(self, root: Digest, piece: int | None = None) -> Payload | None:
        """The payload under this root is damaged: it is not seeded again before its file changes.
        Returns it. `piece` is the one that was seen.
        """
        payload = self._seeded.get(root)
        if payload is not None:
            self._damaged[root] = self._stamps.get(root, "")
            if piece is not None:
                self._note(payload, piece)
        return payload

    def _note(self, payload: Payload, piece: int) -> None:
        path = payloads.path(self._archive, payload)
        form = Form.PLAIN if payload.is_plain else Form.CAPSULE
        damage = Damage(
            payload.blob, form, Why.ROT, "seeding", (piece,) if payload.is_plain else ()
        )
        with contextlib.suppress(FileNotFoundError):
            self._archive.soundness.note(damage, os.stat(path))

    def _seed_all(self, damage: Mapping[Digest, object]) -> None:
        """Seeds what may be shared, and stops what may not, is gone or damaged. Then reads the
        blobs that are not seeded yet, or whose tree is not known, until something changes: swarms
        read their files themselves, so all of a file is compared before it is seeded.
        """
        version = self._sharing.version
        blobs = self._sharing.blobs()
        wanted: set[Digest] = set()
        unread: list[Digest] = []
        for blob, restricted in blobs.items():
            self._cancel.check()
            held = payloads.held(self._archive, blob)
            if not held or not self._is_seeded(held[0]):
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
            if payload is not None and not self._is_damaged(payload.root, blob):
                self.seed(payload, restricted=blobs[blob])
                wanted.add(payload.root)
        self._seen = version, damage

    def _is_seeded(self, payload: Payload) -> bool:
        """Whether it is seeded, from the file that is there now."""
        stamp = self._stamps.get(payload.root)
        return stamp == payloads.stamp_of_file(payloads.path(self._archive, payload))

    def _is_damaged(self, name: Digest, blob: Digest) -> bool:
        """Whether the file that holds a blob still is the one that was found damaged."""
        return name in self._damaged and self._damaged[name] == payloads.stamp(self._archive, blob)

    def _read(self, blob: Digest) -> Payload | None:
        """What holds a blob, compared as a whole; where its tree is not known, that is made."""
        if self._is_damaged(blob, blob) or self._archive.damage.of(blob):
            return None
        try:
            form = self._archive.form_of(blob).form
            payloads.tree(self._archive, blob, form, self._cancel)
            with self._archive.open_blob(blob, by="seeding") as reader:
                reader.check(lambda count: self._pace.take(count, self._cancel))
            self._cancel.check()
            held = payloads.held(self._archive, blob)
        except NotArchivedError:
            return None
        except DamagedError as error:  # the archive remembers
            self._emit(FileProblem(file_name(self._archive, blob), str(error), error.code))
            return None
        except (CorruptError, MalformedError) as error:
            self._damaged[blob] = payloads.stamp(self._archive, blob)
            self._emit(FileProblem(file_name(self._archive, blob), str(error), error.code))
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
        elif torrent.seeds and payload.root not in self._seeded:  # it came by this torrent
            path = payloads.path(self._archive, payload)
            self._stamps[payload.root] = payloads.stamp_of_file(path)
            self._seeded[payload.root] = payload
        torrent.connect(peers)

    def _unseed(self, root: Digest) -> None:
        self._seeded.pop(root, None)
        self._stamps.pop(root, None)
        torrent = self._session.torrent(root)
        if torrent is not None and torrent.seeds:
            torrent.close()
