"""Where a service's program, archive and units are, and whether its user can get at them."""

import grp
import os
import pwd
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import outlast
from outlast.cli.service.units import MARK, Owner
from outlast.core.errors import NotFoundError, PolicyError, UsageError
from outlast.store import disk

SYSTEM_UNITS: Final = Path("/etc/systemd/system")
_HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))
_ENABLED: Final = ("wants", "requires")
"""How folders of links to enabled units end."""
_MOST: Final = 1 << 20
"""Bytes of a unit that is there already."""


def this_program() -> list[str]:
    """The words that start this very installation."""
    script = Path(sys.executable).parent / "outlast"
    return [str(script)] if script.is_file() else [sys.executable, "-m", "outlast"]


def is_in_a_home(paths: Sequence[Path]) -> bool:
    """Whether any of them lies where `ProtectHome` hides it."""
    return any(path.is_relative_to(home) for path in paths for home in _HOMES)


def program_files() -> list[Path]:
    """What another user must be able to read to run this installation."""
    package = Path(outlast.__file__).parent
    return [Path(this_program()[0]), Path(sys.executable), Path(sys.executable).resolve(), package]


def closed_to_others() -> str | None:
    """What is not for every user, the first folder or file on the way to the program, and where it
    leads; None where all are for every user.
    """
    for path in program_files():
        for step in (*reversed(path.parents), path):
            needed = 0o5 if step == path else 0o1
            if os.stat(step).st_mode & needed != needed:
                is_interpreter = path == Path(sys.executable).resolve()
                what = f"its interpreter, {path}" if is_interpreter else path
                return f"{step} is closed to others, and leads to {what}"
    return None


def require_open() -> None:
    """Raises :class:`PolicyError` where a user of the service's own cannot run this program."""
    closed = closed_to_others()
    if closed is not None:
        raise PolicyError(
            f"a service's user cannot run this program: {closed}",
            hint="install outlast for all users, with an interpreter that all can run: "
            "'/usr/bin/python3 -m venv /opt/outlast'; or --user",
        )


def owner_of(home: Path) -> Owner:
    """Who is to run a service on the archive in `home`: the folder's owner. Raises
    :class:`NotFoundError` where there is no folder, and :class:`PolicyError` where it is root's.
    """
    try:
        info = os.stat(home)
    except FileNotFoundError:
        raise NotFoundError(
            f"no folder at {home}", hint=f"make it: install -d -o USER -g GROUP {home}"
        ) from None
    if info.st_uid == 0:
        raise PolicyError(
            f"{home} belongs to root, and a service should not run as root",
            hint=f"useradd --system outlast; chown -R outlast: {home}",
        )
    try:
        return Owner(pwd.getpwuid(info.st_uid).pw_name, grp.getgrgid(info.st_gid).gr_name)
    except KeyError:
        raise NotFoundError(
            f"the owner of {home} has no name on this machine", hint=f"chown -R USER: {home}"
        ) from None


def present(path: Path) -> str | None:
    """The text of a unit; None where there is none. What is not UTF-8 is not ours."""
    with disk.reporting(path):
        try:
            with open(path, "rb") as file:
                return file.read(_MOST).decode("utf-8", "replace")
        except FileNotFoundError:
            return None


def is_ours(text: str) -> bool:
    return text.startswith(MARK)


def check_free(path: Path, text: str, *, force: bool) -> None:
    """Raises :class:`UsageError` where another text is at `path`, unless `force`."""
    found = present(path)
    if found is not None and found != text and not force:
        whose = "differs from this one" if is_ours(found) else "was not written by outlast"
        raise UsageError(
            f"{path} is there and {whose}", hint="--force replaces it; --print shows this one"
        )


def write(path: Path, text: str) -> bool:
    """Writes a unit whole, readable by all; False where it was there already."""
    if present(path) == text:
        return False
    temp = path.with_name(f".{path.name}.{os.getpid()}")
    with disk.reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temp, "x", encoding="utf-8") as file:
                file.write(text)
                os.fchmod(file.fileno(), 0o644)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temp, path)
        finally:
            temp.unlink(missing_ok=True)
    return True


def ours(folder: Path, names: Sequence[str]) -> Iterator[tuple[Path, bool]]:
    """Those of the units that are in `folder`, and whether each is ours."""
    for name in names:
        text = present(folder / name)
        if text is not None:
            yield folder / name, is_ours(text)


def links_to(unit: Path, enabled: Path) -> list[Path]:
    """The links by which a unit was enabled: beside it, and in `enabled`, the folder where systemd
    makes them.
    """
    beside = [path for path in _links(unit.parent, unit.name) if path.parent != unit.parent]
    if enabled == unit.parent:
        return beside
    return beside + [path for path in _links(enabled, unit.name) if path.readlink() == unit]


def _links(folder: Path, name: str) -> list[Path]:
    found = [folder / name, *(path for end in _ENABLED for path in folder.glob(f"*.{end}/{name}"))]
    return sorted(path for path in found if path.is_symlink())


def delete(path: Path) -> None:
    """Deletes a unit or a link; what is gone already is fine."""
    with disk.reporting(path):
        path.unlink(missing_ok=True)
