"""What the fault campaigns work on: a small archive that holds every form, and the table of
operations. An operation that is new needs one line in `OPERATIONS`: the campaigns do the rest.
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from tests.cli.call import inside
from tests.crash.world import write_cache
from tests.hubsim import HubRepo
from tests.pull.kit import check_archive
from tests.pull.weights import bf16, packed, tuned
from tests.realweights import Tensor

_random = Random(14)
Files = Mapping[str, bytes]
COMMIT = "cafe" * 10


def _weights(*numbers: int, change: str = "") -> bytes:
    """A safetensors file with a tensor of 64 KiB for each number; a fine-tune differs in one."""
    tensors = {f"{n}.weight": Tensor("BF16", (128, 256), bf16(n, 1 << 15)) for n in numbers}
    if change:
        tensors = tuned(tensors, change)
    with tempfile.TemporaryDirectory() as folder:
        return packed(Path(folder) / "file", tensors)


_WEIGHTS = _weights(*range(5))
_SHARED = _random.randbytes(90_000)
HELD: Mapping[str, Files] = {
    "org/base": {
        "model.safetensors": _WEIGHTS,
        "config.json": b'{"base": true}',
        "shared.bin": _SHARED,
    },
    "org/tuned": {"model.safetensors": _weights(*range(5), change="1.weight"), "a.txt": b"tuned"},
    "org/loose": {
        "model.safetensors": _weights(20, 21),
        "tuned.safetensors": _weights(*range(5), change="3.weight"),
        "noise.bin": _random.randbytes(70_000),
    },
    "org/old": {"old.bin": _random.randbytes(50_000), "shared.bin": _SHARED, "old.txt": b"old\n"},
}
"""Of each model that the archive holds from the start, the files."""
NEW: Files = {
    "model.safetensors": _weights(30, 31, 32),
    "tuned.safetensors": _weights(*range(5), change="2.weight"),
    "noise.bin": _random.randbytes((1 << 20) + 70_001),
    "shared.bin": _SHARED,
    **{f"text-{number}.txt": b"text %d\n" % number for number in range(3)},
}
FOLDER: Files = {
    "model.safetensors": _weights(40, 41),
    "noise.bin": _random.randbytes(80_000),
    "sub/shared.bin": _SHARED,
    "README.md": b"# mine\n",
}
CACHED: Files = {
    "model.safetensors": _random.randbytes(120_000),
    "config.json": b'{"cached": true}',
    "sub/vocab.txt": b"a\nb\n",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A user's home: the archive is below it, as are a folder to add and a cache to adopt."""

    home: Path
    hub: str

    @property
    def archive(self) -> Path:
        return self.home / "archive"

    def said(self, *words: str) -> list[str]:
        """A command line with `{home}` and `{hub}` filled in."""
        return [word.format(home=self.home, hub=self.hub) for word in words]

    def run(self, *words: str) -> None:
        """Runs a command, which must succeed."""
        inside(*self.said(*words), home=self.home).ok()


def _nothing(_: Place) -> None:
    """There is nothing to prepare."""


def _garbage(place: Place) -> None:
    place.run("rm", "org/old")


def _trash(place: Place) -> None:
    _garbage(place)
    place.run("gc")


def _damaged_blob(place: Place) -> None:
    """A bit of a file flips that only org/old has."""
    digest = Digest.of(HELD["org/old"]["old.bin"])
    with Archive(place.archive) as archive:
        path = archive.path(digest)
    _flip(path)


def _noted_damage(place: Place) -> None:
    _damaged_blob(place)
    assert inside("verify", home=place.home).code == 4


def _wants_parity(place: Place) -> None:
    settings = place.home / "config" / "outlast" / "config.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text('[durability]\nparity = "2%"\n')


def _parity(place: Place) -> None:
    """No source is left that could mend what is damaged now."""
    _wants_parity(place)
    place.run("scrub")
    _damaged_blob(place)


def _bundle(place: Place) -> None:
    """What is only in a bundle from now on."""
    place.run("export", "org/old", "--to", "{home}/usb")
    place.run("rm", "org/old")
    place.run("gc", "--now")


def _damaged_records(place: Place) -> None:
    """So does one of a ref and one of what is known of a model: both have second copies."""
    for name in ("main", ".about"):
        _flip(place.archive / "refs/models/org/base" / name)


def _lost_index(place: Place) -> None:
    for path in place.archive.glob("index.sqlite*"):
        path.unlink()


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


@dataclass(frozen=True, slots=True)
class Operation:
    """A command line, what is prepared before it, and what it means: the models that are here once
    it has ended (`gains`), whether each file that it tells of is acknowledged by that (`drafts`) or
    all by its end, the models that it may take away (`loses`), those that are `damaged` until it
    has ended, how it ends, and with which errors it may end when it runs again.
    """

    words: tuple[str, ...]
    prepare: Callable[[Place], None] = _nothing
    gains: Mapping[str, Files] | None = None
    drafts: bool = False
    loses: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    code: int = 0
    again: tuple[str, ...] = ()

    @property
    def kept(self) -> dict[str, Files]:
        """The models that must be whole at each moment."""
        return {name: files for name, files in HELD.items() if name not in self.loses}


OPERATIONS: Mapping[str, Operation] = {
    "pull": Operation(("pull", "org/new", "--from", "{hub}"), gains={"org/new": NEW}, drafts=True),
    "add": Operation(("add", "{home}/folder", "--as", "me/mine"), gains={"me/mine": FOLDER}),
    "adopt": Operation(("adopt", "{home}/cache"), gains={"org/cached": CACHED}),
    "pack": Operation(("pack",)),
    "unpack": Operation(("unpack",)),
    "rm": Operation(("rm", "org/old"), loses=("org/old",), again=("not-found",)),
    "gc": Operation(("gc",), _garbage, loses=("org/old",)),
    "gc --now": Operation(("gc", "--now"), _trash, loses=("org/old",)),
    "gc --undo": Operation(("gc", "--undo"), _trash, loses=("org/old",)),
    "link": Operation(("link", "org/tuned", "--cache", "{home}/linked")),
    "doctor --mend": Operation(("doctor", "--mend"), _damaged_records, damaged=("org/base",)),
    "doctor --rebuild": Operation(("doctor", "--rebuild"), _lost_index),
    "verify --quarantine": Operation(
        ("verify", "--quarantine"), _damaged_blob, loses=("org/old",), damaged=("org/old",), code=4
    ),
    "scrub": Operation(("scrub", "--full")),
    "parity": Operation(("scrub",), _wants_parity),
    "mend by parity": Operation(("scrub",), _parity, damaged=("org/old",)),
    "mend": Operation(("pull", "org/old", "--from", "{hub}"), _noted_damage, damaged=("org/old",)),
    "export": Operation(("export", "org/tuned", "org/base", "--to", "{home}/usb")),
    "import": Operation(
        ("import", "{home}/usb"), _bundle, gains={"org/old": HELD["org/old"]}, loses=("org/old",)
    ),
}


def build(root: Path, url: str) -> None:
    """The template of a home below `root`; the hub at `url` serves `root`/hub."""
    place = Place(root / "home", url)
    for path, data in FOLDER.items():
        file = place.home / "folder" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    write_cache(place.home / "cache", CACHED, COMMIT)
    for name in HELD:
        place.run("pull", name, "--from", "{hub}")
    place.run("unpack", "org/loose")


def fill_hub(root: Path) -> None:
    for name, files in {**HELD, "org/new": NEW}.items():
        HubRepo(root, name).commit(files)


def copied(template: Path, home: Path, hub: str) -> Place:
    """A copy of a home, at `home`."""
    if home.exists():
        shutil.rmtree(home)
    shutil.copytree(template, home, symlinks=True)
    return Place(home, hub)


# What must hold


def held(archive: Archive, name: str) -> dict[str, bytes]:
    """The files of a model that the archive says to have, of whichever revision."""
    repo, found = RepoId.parse(name), {}
    for summary in archive.summaries():
        if summary.repo == repo:
            for entry in archive.revision(repo, summary.revision.hex).files:
                assert entry.sha256 is not None
                with archive.open(entry.sha256) as file:
                    found[entry.path] = file.read()
    return found


def acknowledged(out: str) -> set[str]:
    """The files that a command said were verified and durable; its last line may be torn."""
    paths = set()
    for line in out.splitlines():
        with contextlib.suppress(ValueError):
            document = json.loads(line)
            if document.get("type") == "file-done":
                paths.add(document["path"])
    return paths


def check(place: Place, operation: Operation, out: str) -> None:
    """After a fault: nothing that was acknowledged is lost, nothing that is wrong is shown. `out`
    is what the command had said before.
    """
    if not operation.damaged:
        check_archive(place.archive)
    done = acknowledged(out) if operation.drafts else set()
    kept = {name: files for name, files in operation.kept.items() if name not in operation.damaged}
    with Archive(place.archive) as archive:
        check_held(archive, kept)
        for name, files in (operation.gains or {}).items():
            found = held(archive, name)
            assert all(files[path] == data for path, data in found.items()), f"{name} is wrong"
            assert done <= found.keys(), f"{name} lacks what was acknowledged"


def check_held(archive: Archive, models: Mapping[str, Files]) -> None:
    """These models are here, whole and right."""
    for name, files in models.items():
        assert archive.refs.get(RepoId.parse(name), "main") is not None, f"the name {name} is lost"
        assert held(archive, name) == files, f"{name} is not whole"


def check_again(place: Place, operation: Operation) -> None:
    """The same command completes what the fault had interrupted, and garbage collection takes what
    is left and nothing else.
    """
    call = inside(*place.said(*operation.words), home=place.home)
    if call.code not in {0, operation.code}:
        call.failed(*operation.again)
    if operation.code == 0:
        inside("gc", home=place.home).ok()
        check_archive(place.archive)
    with Archive(place.archive) as archive:
        check_held(archive, {**operation.kept, **(operation.gains or {})})


def forms(place: Place, names: Iterable[str]) -> dict[str, set[Form]]:
    """In which forms the files of models are held."""
    found = {}
    with Archive(place.archive) as archive:
        for name in names:
            entries = archive.revision(RepoId.parse(name)).files
            found[name] = {archive.form_of(e.sha256).form for e in entries if e.sha256 is not None}
    return found
