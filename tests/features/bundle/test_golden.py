"""A bundle of long ago is read as it was, and the same models are written as the same bytes.

``python -m tests.features.bundle.test_golden`` writes it anew.
"""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from outlast.core.names import RepoId
from outlast.features.bundle.planning import ExportWishes
from outlast.store.archive import Archive
from tests.features.bundle.world import export_to, import_from, put

GOLDEN = Path(__file__).parents[2] / "golden" / "bundles" / "small"
FILES = {
    "config.json": b'{"golden": true}',
    "model.bin": bytes(range(256)) * 40,
    "empty": b"",
    "sub/notes.txt": b"kept\n",
}


def make(folder: Path) -> None:
    with Archive(folder / "archive", create=True) as archive:
        put(archive, folder / "folders", FILES, "org/golden")
        wishes = ExportWishes(parity=10)
        export_to(archive, folder / "usb", "org/golden", wishes=wishes)


def test_it_is_read(tmp_path: Path) -> None:
    with Archive(tmp_path / "there", create=True) as other:
        (result,) = import_from(other, GOLDEN)
        assert result.is_whole
        revision = other.revision(RepoId.parse("org/golden"))
        found = {entry.path: entry.sha256.hex for entry in revision.files if entry.sha256}
    assert found == {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}


def test_it_is_written_alike(tmp_path: Path) -> None:
    make(tmp_path)
    paths = sorted(p.relative_to(GOLDEN) for p in GOLDEN.rglob("*.olb"))
    assert paths == sorted(
        p.relative_to(tmp_path / "usb") for p in (tmp_path / "usb").rglob("*.olb")
    )
    for path in paths:
        assert (GOLDEN / path).read_bytes() == (tmp_path / "usb" / path).read_bytes()
    was = json.loads((GOLDEN / "bundle.json").read_bytes())
    now = json.loads((tmp_path / "usb" / "bundle.json").read_bytes())
    assert was == now


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        make(Path(scratch))
        shutil.rmtree(GOLDEN, ignore_errors=True)
        wanted = ("bundle.json", "parts", "parity")
        for name in wanted:
            source = Path(scratch) / "usb" / name
            GOLDEN.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, GOLDEN / name)
            else:
                shutil.copy(source, GOLDEN / name)
