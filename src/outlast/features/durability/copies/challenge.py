"""Challenges: random blocks of what a node says to hold, which it has to prove to have.

A node cannot foresee the block, and cannot make up its proof: the tree's root stands in the
manifest, which its own digest names. What a challenge shows is that the node can produce the bytes,
not on which disk they are. One costs 17 kB and 25 µs here, and the node reads 1 MiB. Of a copy that
lost 1 %, 299 random blocks find a lost one with 95 %; n blocks find a loss of the part p with
1 - (1 - p) ** n.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from outlast.codec.merkle import Tree, block_count
from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.errors import IntegrityError, NotFoundError, OutlastError, PolicyError
from outlast.core.manifest import FileEntry, Revision
from outlast.features.durability.copies.memory import FailedBlock
from outlast.features.durability.copies.tuning import TUNING, Tuning
from outlast.sources.peer import PeerSource
from outlast.store.archive import Archive
from outlast.store.index import load_manifest

_log = logging.getLogger(__name__)
_REFUSED = (IntegrityError, NotFoundError, PolicyError)
"""What shows that a copy is not to be had; other errors may pass."""


@dataclass(frozen=True, slots=True)
class Challenged:
    """What came of some challenges: how many blocks were `right`, and which were not."""

    right: int = 0
    failed: tuple[FailedBlock, ...] = ()


class Challenger:
    """Asks nodes for blocks. Not thread-safe."""

    def __init__(self, archive: Archive, random: Random, tuning: Tuning = TUNING) -> None:
        """`random` must be one that no peer can foresee."""
        self._archive = archive
        self._random = random
        self._tuning = tuning
        self._revisions: OrderedDict[Digest, Revision] = OrderedDict()
        self._trees: OrderedDict[Digest, Tree] = OrderedDict()

    def challenge(
        self, source: PeerSource, holder: str, manifests: Sequence[Digest], count: int
    ) -> Challenged:
        """Asks for `count` blocks, by chance, of all that these manifests name. It ends with the
        first question to which there is no answer.
        """
        places: list[tuple[Digest, FileEntry]] = []
        try:
            for manifest in manifests:
                revision = self._revision(source, manifest)
                places += [(manifest, entry) for entry in revision.files if entry.size]
        except OutlastError as error:
            _log.debug("%s: not challenged: %s", source.name, error)
        if not places:
            return Challenged()
        weights = list(accumulate(block_count(entry.size) for _, entry in places))
        asked = [
            FailedBlock(holder, manifest, _blob(entry), self._random.randrange(blocks))
            for manifest, entry in self._random.choices(places, cum_weights=weights, k=count)
            for blocks in [block_count(entry.size)]
        ]
        return self.ask(source, asked)

    def ask(self, source: PeerSource, blocks: Sequence[FailedBlock]) -> Challenged:
        """Asks for these blocks."""
        right, failed = 0, []
        for one in blocks:
            try:
                tree = self._tree(source, one)
                if tree is None:
                    continue
                source.prove(one.blob, tree, one.block, self._tuning.proof)
                right += 1
            except _REFUSED as error:
                _log.info("%s failed a challenge: %s", source.name, error)
                failed.append(one)
            except OutlastError as error:
                _log.debug("%s: no answer to a challenge: %s", source.name, error)
                break
        return Challenged(right, tuple(failed))

    def _revision(self, source: PeerSource, manifest: Digest) -> Revision:
        """The files of a manifest: from the archive, or from the node, whose word is checked."""
        found = self._revisions.get(manifest)
        if found is None:
            if self._archive.layout.manifest(manifest).exists():
                found = load_manifest(self._archive.layout, manifest)
            else:
                found = source.manifest(manifest, self._tuning.answer)
            self._revisions[manifest] = found
            _bound(self._revisions, self._tuning.trees)
        self._revisions.move_to_end(manifest)
        return found

    def _tree(self, source: PeerSource, one: FailedBlock) -> Tree | None:
        """The tree of a file; None where neither this node nor the other knows it."""
        found = self._trees.get(one.blob)
        if found is None:
            revision = self._revision(source, one.manifest)
            entry = next(e for e in revision.files if e.sha256 == one.blob)
            found = self._archive.tree(one.blob, Form.PLAIN)
            if found is None or found.root != entry.merkle_root:
                if entry.merkle_root is None:
                    return None
                try:
                    found = source.layer(entry.merkle_root, entry.size, self._tuning.answer)
                except NotFoundError:
                    return None
            self._trees[one.blob] = found
            _bound(self._trees, self._tuning.trees)
        self._trees.move_to_end(one.blob)
        return found


def _blob(entry: FileEntry) -> Digest:
    assert entry.sha256 is not None  # a Revision refuses files without one
    return entry.sha256


def _bound(known: "OrderedDict[Digest, Revision] | OrderedDict[Digest, Tree]", most: int) -> None:
    while len(known) > most:
        known.popitem(last=False)
