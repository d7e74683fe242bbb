"""Peers that copy data so that it can be checked later: backup programs, and modelferry."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench import peers
from bench.durability.rig import Rig, Run, Scratch
from bench.hub import COMMIT, NginxHub
from bench.process import BenchError, Cost
from bench.stage import MissingPeerError

_RESTIC = {"RESTIC_PASSWORD": "bench"}
_BORG = {"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
_PAR2_SIZE = 16_000_000
"""Bytes. It makes some megabytes a CPU-second, of any size."""
_NAMES = ("restic", "borg", "kopia")


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup program: how a repository is made, filled, checked wholly, and read back."""

    name: str
    environment: dict[str, str]
    init: Callable[[Path], list[str | Path]]
    store: Callable[[Path, Path], list[str | Path]]
    check: Callable[[Path], list[str | Path]]
    restore: Callable[[Path, Path], list[str | Path]]


def installed() -> list[Backup]:
    """Those that are here; `--no-cache` and `files` keep them from trusting what they know."""
    known = [
        Backup(
            "restic",
            _RESTIC,
            lambda repo: ["restic", "--repo", repo, "--no-cache", "init"],
            lambda repo, data: ["restic", "--repo", repo, "--no-cache", "backup", data],
            lambda repo: ["restic", "--repo", repo, "--no-cache", "check", "--read-data"],
            lambda repo, to: [
                *("restic", "--repo", repo, "--no-cache", "restore", "latest", "--target", to)
            ],
        ),
        Backup(
            "borg",
            _BORG,
            lambda repo: ["borg", "init", "--encryption", "none", repo],
            lambda repo, data: ["borg", "create", "--files-cache", "disabled", f"{repo}::1", data],
            lambda repo: ["borg", "check", "--verify-data", repo],
            lambda repo, to: ["sh", "-c", 'cd "$1" && borg extract "$2"', "sh", to, f"{repo}::1"],
        ),
    ]
    return [backup for backup in known if shutil.which(backup.name)]


def lacking() -> str:
    """Which backup programs are not here, for a note; empty if all are."""
    lost = [name for name in _NAMES if shutil.which(name) is None]
    return f"not installed: {', '.join(lost)}" if lost else ""


class Repositories:
    """A filled repository of each program, for checks and for reading back."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def storing(self, backup: Backup) -> Run:
        """A backup of the model into a repository that is new each time."""

        def run() -> Cost:
            with Scratch(self._rig.stage, f"{backup.name}-new") as repo:
                self._make(backup, repo)
                return self._run(backup, backup.store(repo, self._rig.folder))

        return run

    def checking(self, backup: Backup) -> Run:
        """All data of the repository is read and compared."""
        return lambda: self._run(backup, backup.check(self._filled(backup)))

    def restoring(self, backup: Backup) -> Run:
        """The model is read back into an empty folder."""

        def run() -> Cost:
            repo = self._filled(backup)
            with Scratch(self._rig.stage, f"{backup.name}-back") as folder:
                folder.mkdir()
                return self._run(backup, backup.restore(repo, folder))

        return run

    def _filled(self, backup: Backup) -> Path:
        repo = self._rig.stage.folder / f"{backup.name}-repository"
        if not repo.exists():
            self._make(backup, repo)
            self._run(backup, backup.store(repo, self._rig.folder))
        return repo

    def _make(self, backup: Backup, repo: Path) -> None:
        self._run(backup, backup.init(repo))

    def _run(self, backup: Backup, command: list[str | Path]) -> Cost:
        return self._rig.run(*command, **backup.environment)


class Modelferry:
    """modelferry, which downloads a model from a hub and packs it, and unpacks it."""

    def __init__(self, rig: Rig) -> None:
        """Raises :class:`MissingPeerError` where it, or nginx for the hub, is not here."""
        try:
            programs = peers.modelferry()
        except peers.PeerUnavailableError as error:
            raise MissingPeerError(str(error)) from error
        self._program = programs / "modelferry"
        self._rig = rig
        hub: NginxHub = rig.stage.hub
        self._model = hub.make("bench/ferried", len(rig.files), rig.size // len(rig.files))
        hub.start()

    def pack(self) -> Cost:
        with Scratch(self._rig.stage, "ferry-new") as folder:
            return self._pack(folder)

    def unpack(self) -> Cost:
        packed = self._rig.stage.folder / "ferry-packed"
        if not packed.exists():
            self._pack(packed)
        (bundle,) = packed.iterdir()
        with Scratch(self._rig.stage, "ferry-back") as folder:
            return self._rig.run(self._program, "unpack", bundle, folder)

    def _pack(self, folder: Path) -> Cost:
        with Scratch(self._rig.stage, "ferry-staging") as staging:
            return self._rig.run(
                *(self._program, "pack", self._model.name, "--dest", folder),
                *("--revision", COMMIT, "--staging", staging),
                HF_ENDPOINT=self._rig.stage.hub.url,
            )


@cache
def ferry(rig: Rig) -> tuple[Modelferry | None, str]:
    """modelferry, or why it is not measured; made once, as its hub has the model once."""
    try:
        return Modelferry(rig), ""
    except (MissingPeerError, BenchError) as error:
        return None, str(error)


class Par2:
    """par2 over the beginning of a file, with a tenth of parity; `size` is that of it."""

    def __init__(self, rig: Rig) -> None:
        """Raises :class:`MissingPeerError` where it is not here."""
        if shutil.which("par2") is None:
            raise MissingPeerError("par2 is not installed (Debian, Ubuntu: apt-get install par2)")
        self._rig = rig
        self._data = rig.stage.folder / "par2.bin"
        with rig.files[0].open("rb") as file:
            self._data.write_bytes(file.read(_PAR2_SIZE))
        self.size = self._data.stat().st_size

    def create(self) -> Cost:
        with self._copy() as folder:
            return self._create(folder)

    def repair(self) -> Cost:
        """Puts right what a tenth of a file was damaged in, in one run of bytes."""
        with self._copy() as folder:
            self._create(folder)
            with (folder / self._data.name).open("r+b") as file:
                file.seek(self.size // 2)
                file.write(bytes(self.size // 11))
            return self._rig.run("par2", "repair", "-q", "-q", folder / "sums.par2")

    def _create(self, folder: Path) -> Cost:
        command = ("par2", "create", "-q", "-q", "-r10", "-n1", folder / "sums.par2")
        return self._rig.run(*command, folder / self._data.name)

    def _copy(self) -> AbstractContextManager[Path]:
        return _Copied(self._rig, self._data)


class _Copied(Scratch):
    """A folder with a copy of one file."""

    def __init__(self, rig: Rig, data: Path) -> None:
        super().__init__(rig.stage, "par2")
        self._data = data

    def __enter__(self) -> Path:
        folder = super().__enter__()
        folder.mkdir()
        shutil.copy(self._data, folder)
        return folder
