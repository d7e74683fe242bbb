"""A capsule is decoded and hashed while its pieces come in."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.codec.hashing import names_of
from outlast.codec.merkle import PIECE, Tree
from outlast.codec.payload import Form, Payload
from outlast.core.cancel import Cancel
from outlast.core.errors import Cancelled
from outlast.core.manifest import FileEntry
from outlast.fetch.capsule_check import CapsuleCheck
from outlast.fetch.download import Download
from outlast.fetch.plan import FetchPlan
from outlast.store.archive import Archive
from outlast.store.partials import Partial
from tests.codec.files import encode
from tests.noise import noise

BLOB = noise(4, 20 * PIECE + 5)
NAMES = names_of(BLOB)
CAPSULE = encode(BLOB)
COUNT = -(-len(CAPSULE) // PIECE)


class Setting:
    """A capsule on its way in, as the capsule of the file `entry`."""

    def __init__(self, folder: Path, capsule: bytes, entry: FileEntry) -> None:
        self.capsule = capsule
        self.archive = Archive(folder, create=True)
        self.archive.layout.partial.mkdir(parents=True, exist_ok=True)
        names = names_of(capsule)
        assert names.merkle_root is not None
        assert entry.sha256 is not None
        tree = Tree(len(capsule), names.merkle_root, names.layer)
        payload = Payload(entry.sha256, Form.CAPSULE, len(capsule), names.merkle_root)
        self.partial = Partial(self.archive.layout, entry.key + ".capsule", len(capsule))
        self.download = Download(entry, self.partial, FetchPlan(payload, tree, swarm=True))
        self.restored = CapsuleCheck(self.archive, self.download)

    def bring(self, *pieces: int) -> None:
        for index in pieces:
            self.partial.write(index, self.capsule[index * PIECE : (index + 1) * PIECE])

    def advance(self, pieces: int) -> None:
        self.restored.advance(pieces, Cancel())

    @property
    def hashed(self) -> bool:
        """Whether some of the file was."""
        return self.restored._reading is not None


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    yield from opened(tmp_path, CAPSULE, FileEntry("a.bin", len(BLOB), sha256=NAMES.sha256))


def opened(folder: Path, capsule: bytes, entry: FileEntry) -> Iterator[Setting]:
    made = Setting(folder, capsule, entry)
    with made.partial, made.restored:
        yield made
        made.download.close()


def test_as_far_as_pieces_are_here(setting: Setting) -> None:
    """The directory is in the last, which comes early."""
    setting.bring(COUNT - 1, *range(15))
    setting.advance(15)
    assert setting.hashed
    assert setting.restored.names is None
    setting.bring(*range(15, COUNT))
    setting.advance(COUNT)
    assert setting.restored.problem is None
    assert setting.restored.names == replace(NAMES, git_sha1=None)


def test_in_order(setting: Setting) -> None:
    setting.bring(*range(15))
    setting.advance(15)
    assert not setting.hashed
    setting.bring(*range(15, COUNT))
    setting.advance(COUNT)
    assert setting.restored.names == replace(NAMES, git_sha1=None)


def test_a_last_piece_that_is_torn_is_not_believed(setting: Setting) -> None:
    """As after a crash: the journal says more than the file has."""
    setting.bring(*range(15))
    setting.partial.write(COUNT - 1, bytes(len(CAPSULE) - (COUNT - 1) * PIECE))
    assert not setting.download.shows_end()
    setting.advance(15)
    assert not setting.hashed
    assert setting.restored.problem is None
    setting.bring(COUNT - 1)
    assert setting.download.shows_end()


def test_cancelled(setting: Setting) -> None:
    setting.bring(*range(COUNT))
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        setting.restored.advance(COUNT, cancel)


LONGER = FileEntry("a.bin", len(BLOB) + 1, sha256=NAMES.sha256)
OTHER = FileEntry("a.bin", len(BLOB), sha256=NAMES.sha256, git_sha1=None, merkle_root=NAMES.sha256)
DAMAGED = CAPSULE[: 3 * PIECE] + bytes(PIECE) + CAPSULE[4 * PIECE :]
GOOD = FileEntry("a.bin", len(BLOB), sha256=NAMES.sha256)


@pytest.mark.parametrize(
    ("capsule", "entry", "problem", "early"),
    [
        (CAPSULE, LONGER, "restores", True),
        (DAMAGED, GOOD, "damaged", True),
        (CAPSULE, OTHER, "merkle", False),
        (bytes(len(CAPSULE)), GOOD, "not a capsule", False),
    ],
    ids=["another size", "damaged", "another root", "no capsule"],
)
def test_what_restores_something_else(
    tmp_path: Path, capsule: bytes, entry: FileEntry, problem: str, *, early: bool
) -> None:
    """It is noticed as soon as it shows, and nothing more of it is read."""
    for setting in opened(tmp_path, capsule, entry):
        setting.bring(COUNT - 1, *range(15))
        setting.advance(15)
        assert bool(setting.restored.problem) == early
        setting.bring(*range(15, COUNT))
        setting.advance(COUNT)
        assert problem in str(setting.restored.problem)
