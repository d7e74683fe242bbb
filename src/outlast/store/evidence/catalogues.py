"""Where the files of catalogues lie in an archive's folder, and those that bundles bring along.

A catalogue is a TUF repository: signed files below ``metadata/``. What is here of one that is
followed, or made here, can be given to others as it is; what came with a bundle is kept apart,
proves nothing, and counts once the catalogue is synced from it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from outlast.core.errors import BadNameError, MalformedError, NotFoundError
from outlast.store import disk

FOLDER: Final = ("trust", "catalogues")
FOLLOWED: Final = "followed"
OWN: Final = "own"
BROUGHT: Final = "brought"
METADATA: Final = "metadata"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_FILE: Final = re.compile(r"(?:[1-9][0-9]{0,9}\.)?[A-Za-z0-9][A-Za-z0-9._%-]{0,300}\.json")
MOST_FILE: Final = 5_000_000
"""Bytes of a file: the bound of python-tuf for a list."""
MOST_FILES: Final = 20_000
MOST_BYTES: Final = 256 << 20
"""Files of a catalogue, and bytes of all of them."""
_MOST_BROUGHT: Final = 100
_MODE: Final = 0o644


def check_catalogue(name: str) -> str:
    """`name`, if a catalogue can have it here. Raises :class:`BadNameError`."""
    if not _NAME.fullmatch(name):
        raise BadNameError(
            f"not a name for a catalogue: {name[:100]!r}",
            hint="up to 40 of a-z, 0-9 and '-', as acme-models",
        )
    return name


def is_catalogue_path(path: str) -> bool:
    """Whether ``NAME/metadata/FILE`` can be a file of a catalogue."""
    name, _, rest = path.partition("/")
    room, _, file = rest.partition("/")
    return bool(_NAME.fullmatch(name)) and room == METADATA and bool(_FILE.fullmatch(file))


def brought_folder(home: Path, name: str) -> Path:
    """Where the catalogue `name` lies that a bundle brought; whether there is one or not."""
    return home.joinpath(*FOLDER, BROUGHT, check_catalogue(name))


def read_metadata(home: Path, name: str) -> dict[str, bytes]:
    """The signed files of a catalogue that is made or followed here, by ``metadata/FILE``. Raises
    :class:`NotFoundError`, and :class:`MalformedError` where they are more than any may have.
    """
    check_catalogue(name)
    for kind in (OWN, FOLLOWED):
        folder = home.joinpath(*FOLDER, kind, name, METADATA)
        if (folder / "timestamp.json").exists():
            with disk.locked(home.joinpath(*FOLDER, "lock"), exclusive=True):
                files = [file for file in disk.listed(folder) if _FILE.fullmatch(file)]
                return _read(folder, files)
    raise NotFoundError(
        f"no catalogue {name!r} is made here, or was synced",
        hint="'outlast catalogue ls' lists them",
    )


def _read(folder: Path, files: list[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    left = MOST_BYTES
    for file in files:
        with disk.reporting(folder / file), (folder / file).open("rb") as opened:
            data = opened.read(MOST_FILE + 1)
        left -= len(data)
        if len(data) > MOST_FILE or left < 0 or len(found) == MOST_FILES:
            raise MalformedError(f"the catalogue in {folder} is larger than any may be")
        found[f"{METADATA}/{file}"] = data
    return found


def keep_brought(home: Path, name: str, files: Mapping[str, bytes]) -> None:
    """Keeps what a bundle brought of a catalogue, by ``metadata/FILE``, in place of what another
    one had brought. Durable; a crash leaves one of them, or none. Raises :class:`BadNameError`, and
    :class:`MalformedError` where there are too many.
    """
    folder = brought_folder(home, name)
    if not all(is_catalogue_path(f"{name}/{path}") for path in files):
        raise BadNameError(f"the catalogue {name} has a file that none may have")
    if name not in brought_names(home) and len(brought_names(home)) >= _MOST_BROUGHT:
        raise MalformedError(f"bundles brought more than {_MOST_BROUGHT} catalogues")
    lock = home.joinpath(*FOLDER, "lock")
    with disk.reporting(folder):
        disk.make_dir(folder.parent)
        new = folder.with_name(f".{name}.new")
        with disk.locked(lock, exclusive=True):
            disk.remove_tree(new)
            disk.make_dir(new / METADATA)
            for path, data in files.items():
                disk.write_temp(new / path, data, _MODE)
            disk.fsync_dir(new / METADATA)
            disk.remove_tree(folder)
            new.rename(folder)
            disk.fsync_dir(folder.parent)


def brought_names(home: Path) -> list[str]:
    """The catalogues that bundles brought."""
    return [name for name in disk.listed(home.joinpath(*FOLDER, BROUGHT)) if _NAME.fullmatch(name)]
