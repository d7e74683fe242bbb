"""Encrypted bundles: only the owner of a key sees what is in them, and they are checked and
repaired without it.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest

from outlast.codec.bundle.cell_stream import CellStream
from outlast.codec.bundle.documents import BUNDLE_FILE, BundleFile
from outlast.codec.bundle.geometry import HEADER_BYTES, PartLayout
from outlast.codec.bundle.part import Sums
from outlast.codec.bundle.sealed import Cells, Envelope, SealedContents
from outlast.codec.memory import InMemory
from outlast.core.control import Control
from outlast.core.errors import (
    BadConfigError,
    CorruptError,
    LockedError,
    MalformedError,
    OutlastError,
    StorageError,
    UsageError,
)
from outlast.core.events import Event, Progress
from outlast.core.names import RepoId, Target
from outlast.features.bundle.export import ExportedBundle, export_bundle, media_of
from outlast.features.bundle.importing import Imported, import_bundle
from outlast.features.bundle.planning import ExportWishes, make_plan
from outlast.features.bundle.review.listing import list_files
from outlast.features.bundle.sealing import sealed
from outlast.features.bundle.since import read_since
from outlast.sources.bundle.age import Keyring, PairedKey, read_recipients, seal_envelope
from outlast.sources.bundle.opened import open_media
from outlast.store.archive import Archive
from tests.cli.call import inside
from tests.features.bundle.script import verify
from tests.features.bundle.world import NOW, SMALL, files_below

NAMES = ("org/base", "org/tuned")
WISHES = ExportWishes(part_size=SMALL)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file as age-keygen writes it."""
    return write_key(tmp_path / "key.txt")


def write_key(path: Path) -> Path:
    identity = pyrage.x25519.Identity.generate()
    path.write_text(f"# public key: {identity.to_public()}\n{identity}\n")
    return path


def public(key: Path) -> str:
    return key.read_text().split()[3]


def encrypt(
    archive: Archive,
    places: Path | list[Path],
    *recipients: str,
    names: tuple[str, ...] = NAMES,
    wishes: ExportWishes = WISHES,
    capacity: int | None = None,
    control: Control | None = None,
) -> ExportedBundle:
    folders = [places] if isinstance(places, Path) else places
    plan = make_plan(archive, [Target.parse(name) for name in names], wishes)
    plan = sealed(plan, read_recipients(recipients), wishes)
    return export_bundle(
        archive,
        plan,
        folders,
        lambda number, _count: folders[min(number, len(folders)) - 1],
        media=media_of(plan, capacity),
        control=control or Control(),
        now=NOW,
    )


def take(archive: Archive, key: Path, *folders: Path) -> Imported:
    (bundle,) = open_media(folders, Keyring(key)).bundles
    with bundle:
        return import_bundle(archive, bundle, Control())


@pytest.fixture
def usb(archive: Archive, key: Path, tmp_path: Path) -> Path:
    encrypt(archive, tmp_path / "usb", public(key))
    return tmp_path / "usb"


def test_a_round_trip(archive: Archive, other: Archive, key: Path, usb: Path) -> None:
    result = take(other, key, usb)
    assert result.is_whole
    assert result.repaired == 0
    assert files_below(other.layout.home) == files_below(archive.layout.home)
    assert not [*(archive.layout.home / "exports").iterdir()], "the key is the recipients' alone"


def test_nothing_in_clear(archive: Archive, usb: Path) -> None:
    """Neither names nor bytes, nor a sha256 from which one could guess what is there."""
    secrets = [b"org/base", b"org/tuned", b"model.safetensors", b"config.json"]
    home = archive.layout.home
    for blob in archive.blobs():
        secrets += [blob.digest.hex.encode(), bytes.fromhex(blob.digest.hex)]
    plan = make_plan(archive, [Target.parse(name) for name in NAMES], WISHES)
    secrets += [plan.contents.id.hex.encode(), bytes.fromhex(plan.contents.id.hex)]
    secrets += [path.stem.encode() for path in (home / "manifests").iterdir()]
    secrets += [path.read_bytes()[40:104] for path in (home / "capsules").rglob("*.olc")]
    found = [path for path in usb.rglob("*") if path.is_file()]
    assert {path.name for path in usb.iterdir()} == {"bundle.json", "verify.py", "parts", "parity"}
    for path in found:
        data = path.read_bytes()
        assert not [secret for secret in secrets if secret in data], path


def test_the_same_twice_is_not_the_same(archive: Archive, key: Path, tmp_path: Path) -> None:
    one, two = (encrypt(archive, tmp_path / name, public(key)) for name in "ab")
    assert one.contents.id == two.contents.id
    assert one.outer.id != two.outer.id


def test_any_recipient_opens_it(archive: Archive, tmp_path: Path) -> None:
    keys = [write_key(tmp_path / f"key-{number}") for number in range(3)]
    (tmp_path / "recipients.txt").write_text(f"# two\n{public(keys[1])}\n{public(keys[2])}\n")
    encrypt(archive, tmp_path / "usb", public(keys[0]), str(tmp_path / "recipients.txt"))
    for number, key in enumerate(keys):
        with Archive(tmp_path / f"there-{number}", create=True) as other:
            assert take(other, key, tmp_path / "usb").is_whole


def test_without_the_key(other: Archive, usb: Path, tmp_path: Path) -> None:
    with pytest.raises(LockedError, match="is encrypted") as caught:
        open_media([usb])
    assert "--identity" in caught.value.hint
    with pytest.raises(LockedError, match="no identity in"):
        take(other, write_key(tmp_path / "wrong.txt"), usb)
    with pytest.raises(BadConfigError, match="no file of identities"):
        take(other, tmp_path / "none", usb)
    (tmp_path / "bad.txt").write_text("AGE-SECRET-KEY-1NOT\n")
    with pytest.raises(BadConfigError, match="no identity"):
        take(other, tmp_path / "bad.txt", usb)


def test_what_is_no_recipient(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# none\n")
    for text in ("age1nothing", "ssh-rsa AAAA", str(tmp_path / "empty")):
        with pytest.raises(UsageError, match="recipient"):
            read_recipients([text])
    with pytest.raises(BadConfigError, match="no file of recipients"):
        read_recipients([str(tmp_path / "none")])


def test_it_is_repaired_without_the_key(other: Archive, key: Path, usb: Path) -> None:
    """As far as can be seen without it, and in truth."""
    assert verify(usb).status == 0
    (usb / "parts" / "00001.olb").unlink()
    path = usb / "parts" / "00003.olb"
    data = bytearray(path.read_bytes())
    for at in range(1000, len(data), 40_000):
        data[at] ^= 1
    path.write_bytes(data)
    (usb / "bundle.json").unlink()
    said = verify(usb)
    assert said.status == 3, said.text
    assert "is encrypted" in said.text
    result = take(other, key, usb)
    assert result.is_whole
    assert result.repaired > 0


def test_what_parity_does_not_restore(other: Archive, key: Path, usb: Path) -> None:
    cut = BundleFile.from_bytes((usb / BUNDLE_FILE).read_bytes()).contents.geometry
    for part in range(2, 3 + cut.layout.parity):
        (usb / cut.name(part)).unlink()
    assert verify(usb).status == 1
    result = take(other, key, usb)
    assert result.refused
    for one in result.refused:
        assert one.code in {"corrupt", "not-archived"}


def test_what_verify_py_cannot_do(usb: Path, tmp_path: Path) -> None:
    for words in (("--list",), ("--restore", tmp_path / "out"), ("org/base",)):
        said = verify(usb, *words)
        assert (said.status, "is encrypted" in said.text) == (2, True)
    (usb / "MANIFEST.md").write_text("org/base\n")
    said = verify(usb, "--quick")
    assert (said.status, said.faults) == (1, ["WRONG    MANIFEST.md: not of the bundle"])


class Parts:
    """The blocks of a bundle on a medium, which can be written anew with their right sums."""

    def __init__(self, usb: Path) -> None:
        self.usb = usb
        self.outer = BundleFile.from_bytes((usb / BUNDLE_FILE).read_bytes()).contents
        assert isinstance(self.outer, SealedContents)
        self.first = self.outer.base // self.outer.layout.block
        """The block of the first cell."""

    def _at(self, cell: int) -> tuple[Path, int, int, int]:
        cut = self.outer.geometry
        place = cut.place((self.first + cell) * cut.layout.block)
        return (
            self.usb / cut.name(place.part),
            cut.frame_at(place.row),
            place.part,
            place.row,
        )

    def get(self, cell: int) -> bytes:
        path, at, _, _ = self._at(cell)
        return path.read_bytes()[at : at + self.outer.layout.block]

    def put(self, cell: int, data: bytes) -> None:
        path, at, part, row = self._at(cell)
        whole = bytearray(path.read_bytes())
        whole[at : at + len(data) + 8] = data + Sums(self.outer.id, part).of(row, data)
        path.write_bytes(whole)


def refuses(other: Archive, key: Path, usb: Path) -> None:
    """Whether nothing wrong is taken: the bundle is refused, or files of it are."""
    try:
        result = take(other, key, usb)
    except OutlastError as error:
        if not isinstance(error, CorruptError | MalformedError):
            raise
        return
    assert result.refused
    assert not result.is_whole


@pytest.mark.parametrize("cell", [0, 1, 7])
def test_tampered_cells(other: Archive, key: Path, usb: Path, cell: int) -> None:
    parts = Parts(usb)
    data = bytearray(parts.get(cell))
    data[len(data) // 2] ^= 1
    parts.put(cell, bytes(data))
    refuses(other, key, usb)


def test_swapped_cells(other: Archive, key: Path, usb: Path) -> None:
    parts = Parts(usb)
    one, two = parts.get(6), parts.get(7)
    parts.put(6, two)
    parts.put(7, one)
    refuses(other, key, usb)


def test_cells_of_another_bundle(
    archive: Archive, other: Archive, key: Path, usb: Path, tmp_path: Path
) -> None:
    encrypt(archive, tmp_path / "second", public(key))
    Parts(usb).put(7, Parts(tmp_path / "second").get(7))
    refuses(other, key, usb)


def test_cells_by_themselves() -> None:
    """Moved within a bundle, between bundles of one key, padded, cut."""
    key = PairedKey()
    bundles = [
        SealedContents(PartLayout(1 << 14, 4, 4, 1), number, b"envelope") for number in (3, 4)
    ]
    one, two = (Cells(bundle, key) for bundle in bundles)
    room = bundles[0].room
    cell = one.seal(1, b"x" * room)
    assert bytes(one.open(1, memoryview(cell))) == b"x" * room
    assert len(cell) == bundles[0].layout.block
    for cells, number, data, reason in (
        (one, 2, cell, "moved there"),
        (two, 1, cell, "moved there"),
        (one, 1, cell[:-1] + b"x", "malformed"),
        (one, 1, b"\xff\xff\xff\xff" + cell[4:], "malformed"),
        (one, 1, bytes(len(cell)), "not encrypted with the bundle's key"),
        (Cells(bundles[0], PairedKey()), 1, cell, "not encrypted with the bundle's key"),
    ):
        with pytest.raises(CorruptError, match=reason):
            cells.open(number, memoryview(data))


def test_envelopes_that_lie(archive: Archive, other: Archive, key: Path, usb: Path) -> None:
    """Every person can write one for a public key: it opens no cells, and nothing is taken."""
    document = json.loads((usb / BUNDLE_FILE).read_bytes())
    plan = make_plan(archive, [Target.parse(name) for name in NAMES], WISHES)
    lie = Envelope(PairedKey().secret, plan.contents.id, len(plan.contents.encoded), 1 << 40)
    outer = Parts(usb).outer
    assert isinstance(outer, SealedContents)
    for envelope, error in (
        (seal_envelope(lie, [public(key)]), MalformedError),
        (seal_envelope(replace(lie, key="AGE-NOT"), [public(key)]), CorruptError),
        (b"not age", LockedError),
    ):
        forged = replace(outer, envelope=envelope)
        with pytest.raises(error):
            _open_forged(forged, key)
    for key_, value in (("cells", -1), ("envelope", "?"), ("layout", None), ("more", 1)):
        with pytest.raises(MalformedError):
            SealedContents.from_json({**outer.to_json(), key_: value})
    assert document["contents"] == outer.to_json()
    assert take(other, key, usb).is_whole


def _open_forged(forged: SealedContents, key: Path) -> None:
    envelope = Keyring(key).unlock(forged)
    CellStream(InMemory(b""), forged, envelope, PairedKey(envelope.key))


class Stop(Exception):  # noqa: N818 - it is what a test does
    pass


def stopping(after: int) -> Control:
    """Ends an export as a crash does, in the middle of a block."""
    count = 0

    def see(event: Event) -> None:
        nonlocal count
        count += isinstance(event, Progress)
        if count > after:
            raise Stop

    return Control(see)


@pytest.mark.parametrize("after", [1, 20, 34])
def test_an_interrupted_export_goes_on(
    archive: Archive, other: Archive, key: Path, tmp_path: Path, after: int
) -> None:
    usb = tmp_path / "usb"
    with pytest.raises(Stop):
        encrypt(archive, usb, public(key), control=stopping(after))
    there = {path: path.read_bytes() for path in (usb / "parts").glob("*.olb")}
    done = encrypt(archive, usb, public(key))
    assert done.kept >= len(there)
    assert {path: path.read_bytes() for path in there} == there
    assert take(other, key, usb).is_whole
    assert not [*(archive.layout.home / "exports").iterdir()]


def test_a_part_that_was_changed_meanwhile_is_written_anew(
    archive: Archive, other: Archive, key: Path, tmp_path: Path
) -> None:
    usb = tmp_path / "usb"
    with pytest.raises(Stop):
        encrypt(archive, usb, public(key), control=stopping(20))
    path = usb / "parts" / "00001.olb"
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES + 20_000] ^= 1
    path.write_bytes(data)
    done = encrypt(archive, usb, public(key))
    assert path.read_bytes() != data
    assert done.kept >= 1
    assert verify(usb).status == 0
    assert take(other, key, usb).is_whole


def test_it_goes_on_for_the_same_recipients_alone(
    archive: Archive, key: Path, tmp_path: Path
) -> None:
    usb = tmp_path / "usb"
    with pytest.raises(Stop):
        encrypt(archive, usb, public(key), control=stopping(5))
    with pytest.raises(StorageError, match="another bundle"):
        encrypt(archive, usb, public(write_key(tmp_path / "other.txt")))
    shutil.rmtree(archive.layout.home / "exports")
    with pytest.raises(StorageError, match="another bundle"):
        encrypt(archive, usb, public(key))


def test_several_media(archive: Archive, other: Archive, key: Path, tmp_path: Path) -> None:
    places = [tmp_path / f"disk-{number}" for number in range(4)]
    capacity = 66 << 20
    with pytest.raises(UsageError, match="all its"):
        encrypt(archive, places[0], public(key), capacity=capacity)
    encrypt(archive, places, public(key), capacity=capacity)
    used = [place for place in places if place.exists()]
    assert len(used) > 1
    assert verify(used[0], *(word for place in used[1:] for word in ("--media", place))).status == 0
    assert take(other, key, *used).is_whole


def test_since(archive: Archive, other: Archive, key: Path, tmp_path: Path) -> None:
    encrypt(archive, tmp_path / "one", public(key), names=("org/base",))
    with pytest.raises(LockedError):
        read_since(tmp_path / "one")
    wishes = replace(WISHES, known=read_since(tmp_path / "one", Keyring(key)))
    done = encrypt(archive, tmp_path / "two", public(key), names=("org/tuned",), wishes=wishes)
    assert (done.contents.sequence, len(done.contents.payloads)) == (2, 1)
    assert take(other, key, tmp_path / "one").is_whole
    assert take(other, key, tmp_path / "two").is_whole
    assert files_below(other.layout.home) == files_below(archive.layout.home)


def test_a_damaged_blob_does_not_leave(archive: Archive, key: Path, tmp_path: Path) -> None:
    target = next(
        path
        for path in (archive.layout.blobs).rglob("*")
        if path.is_file() and path.stat().st_size > 500_000
    )
    target.chmod(0o644)
    data = bytearray(target.read_bytes())
    data[400_000] ^= 1
    target.write_bytes(data)
    with pytest.raises(CorruptError):
        encrypt(archive, tmp_path / "usb", public(key))


def test_who_has_the_key_sees_the_files(archive: Archive, key: Path, usb: Path) -> None:
    (bundle,) = open_media([usb], Keyring(key)).bundles
    with bundle:
        found = list_files(bundle)
    revision = archive.revision(RepoId.parse("org/base"), "main")
    expected = {(str(revision.repo), entry.path, entry.sha256) for entry in revision.files}
    assert expected <= {(str(one.revision.repo), one.entry.path, one.entry.sha256) for one in found}
    assert all(one.held for one in found)


@pytest.fixture
def home(filled: Path, tmp_path: Path) -> Path:
    shutil.copytree(filled, tmp_path / "home" / "archive")
    return tmp_path / "home"


def test_the_commands(home: Path, key: Path, tmp_path: Path) -> None:
    usb, there = tmp_path / "usb", tmp_path / "there"
    there.mkdir()
    words = ("export", "org/base", "--to", usb, "--encrypt", public(key))
    assert "would export" in inside(*words, "--dry-run", home=home).ok().out
    identity = inside(*words, home=home).ok().out.strip()
    assert json.loads((usb / BUNDLE_FILE).read_bytes())["id"] == identity
    assert "is encrypted" in inside("import", usb, home=there).failed("locked")
    listed = inside("import", usb, "--list", "--identity", key, home=there).ok().out
    assert "model.safetensors" in listed
    said = json.loads(
        inside("import", usb, "--list", "--identity", key, "--json", home=there).ok().out
    )
    assert (said["id"], len(said["files"])) == (identity, 4)
    inside("pull", "org/base", "--from", f"bundle:{usb}", home=there).failed("locked")
    (there / "config" / "outlast").mkdir(parents=True)
    (there / "config" / "outlast" / "config.toml").write_text(f'identity = "{key}"\n')
    inside("pull", "org/base", "--from", f"bundle:{usb}", home=there).ok()
    assert inside("import", usb, home=there).ok().out.startswith("org/base@")
