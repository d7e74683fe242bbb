"""An archive with a past, a hub, a folder and a cache: what crashing commands work on."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from outlast.core.control import Control
from outlast.core.names import Target
from outlast.ops.removal import remove
from outlast.store.archive import Archive
from outlast.store.garbage.evidence import gather
from tests.cli.call import until
from tests.hubsim import HubRepo, HubSim
from tests.noise import noise
from tests.pull.kit import MIB, Puller, check_archive, contents, sent
from tests.pull.weights import bf16, packed, tuned
from tests.realweights import Tensor

SHARED = noise(51, 5 * MIB + 1)


def _weights(*numbers: int, change: bool = False) -> bytes:
    """A safetensors file with a tensor of 1 MiB for each number; a fine-tune differs in one."""
    tensors = {f"{n}.weight": Tensor("BF16", (512, 1024), bf16(n, 1 << 19)) for n in numbers}
    if change:
        tensors = tuned(tensors, f"{numbers[0]}.weight")
    with tempfile.TemporaryDirectory() as folder:
        return packed(Path(folder) / "file", tensors)


WEIGHTS = _weights(*range(9))
BASE: dict[str, bytes] = {
    "base.safetensors": WEIGHTS,
    "config.json": b'{"base": true}',
    "shared.bin": SHARED,
    "notes.txt": b"keep me\n",
}
OLD: dict[str, bytes] = {
    "old.bin": noise(52, 2 * MIB),
    "shared.bin": SHARED,
    **{f"old-{number}.txt": b"old %d\n" % number for number in range(12)},
}
NEW: dict[str, bytes] = {
    "model-1.safetensors": _weights(*range(100, 122)),
    "model-2.safetensors": noise(53, 9 * MIB),
    "model-3.safetensors": _weights(*range(9), change=True),
    "shared.bin": SHARED,
    "small.bin": noise(54, 3 * MIB),
    **{f"text-{number}.txt": b"text %d\n" % number for number in range(12)},
}
FOLDER: dict[str, bytes] = {
    "capsule.safetensors": _weights(*range(90, 94)),
    "noise.bin": noise(55, 3 * MIB + 5),
    "tuned.safetensors": _weights(*range(8), change=True),
    "sub/more.bin": noise(56, 2 * MIB),
    "sub/shared.bin": SHARED,
    "README.md": b"# mine\n",
}
CACHED: dict[str, bytes] = {
    "model.safetensors": noise(57, 6 * MIB + 5),
    "config.json": b'{"cached": true}',
    "sub/vocab.txt": b"a\nb\n",
}
COMMIT = "cafe" * 10
MARK = "in the folder of a dead process"


def is_lfs(path: str) -> bool:
    return path.endswith((".bin", ".safetensors"))


def write_cache(cache: Path, files: Mapping[str, bytes] = CACHED, commit: str = COMMIT) -> None:
    """A Hugging Face cache with one revision of org/cached, as its client would leave it."""
    root = cache / "models--org--cached"
    for path, data in files.items():
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        blob = root / "blobs" / (hashlib.sha256(data).hexdigest() if is_lfs(path) else git)
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        name = root / "snapshots" / commit / path
        name.parent.mkdir(parents=True, exist_ok=True)
        name.symlink_to(os.path.relpath(blob, name.parent))
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)


@dataclass(frozen=True, slots=True)
class World:
    """`home` is the user's home folder, with the archive, a folder and a cache below it."""

    home: Path
    hub: HubSim

    @property
    def archive(self) -> Path:
        return self.home / "archive"

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    def litter(self) -> None:
        """Leaves garbage: an unreferenced model, a half download, a dead process's folder."""
        with Archive(self.archive) as archive:
            remove(archive, Target.parse("org/old"), dry_run=False, control=Control())
            half = archive.layout.partial / ("ab" * 32)
            half.with_suffix(".data").write_bytes(bytes(MIB))
            half.with_suffix(".have").write_bytes(bytes(25))
            dead = archive.layout.tmp / "1-dead"
            dead.mkdir()
            for name in ("lock", "claims"):
                (dead / name).touch()
            (dead / "0.tmp").write_text(MARK)

    def check_past(self) -> None:
        """What was acknowledged before is here, and nothing here is wrong."""
        check_archive(self.archive)
        assert contents(self.archive, "org/base") == BASE

    def check_swept(self) -> None:
        """Nothing is here but what something refers to."""
        with Archive(self.archive) as archive:
            used = gather(archive.layout, ()).used
            assert {blob.digest.hex for blob in archive.blobs()} == used
            assert list(archive.drafts.all()) == []
        for name in ("partial", "tmp"):
            left = [str(path) for path in (self.archive / name).rglob("*")]
            assert left == []

    def sent(self) -> dict[str, int]:
        """Bytes that the hub sent, by file, once it has noticed who left."""
        until(lambda: all(entry.done for entry in self.hub.requests()), "the hub is idle")
        return {path: sent(self.hub, path) for path in NEW}


def build(root: Path) -> None:
    """The hub's repos and the template of a home folder, below `root`."""
    for name, files in (("org/base", BASE), ("org/old", OLD), ("org/new", NEW)):
        HubRepo(root / "hub", name).commit(files)
    home = root / "home"
    with HubSim(root / "hub", mode="thread") as hub:
        pull = Puller(home / "archive")
        pull("org/base", hub.url)
        pull("org/old", hub.url)
    for path, data in FOLDER.items():
        file = home / "folder" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    write_cache(home / "cache")


def fresh(root: Path, home: Path, hub: HubSim) -> World:
    """A copy of the template, at `home`; the hub's log and faults start anew."""
    if home.exists():
        shutil.rmtree(home)
    shutil.copytree(root / "home", home, symlinks=True)
    hub.set_faults([])
    hub.clear_log()
    return World(home, hub)
