"""Where catalogues lie in an archive's folder, and the small records of those that are followed."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, MalformedError, NotFoundError, UsageError
from outlast.core.manifest import load_json
from outlast.features.trust.catalogue.clock import read_time, write_time
from outlast.features.trust.catalogue.names import check_catalogue
from outlast.store import disk
from outlast.store.evidence.catalogues import FOLDER as _FOLDER
from outlast.store.evidence.catalogues import FOLLOWED as _FOLLOWED
from outlast.store.evidence.catalogues import OWN as _OWN
from outlast.store.records.sealed import seal, unseal

_RECORD: Final = "follow.json"
_TYPE: Final = "outlast-follow-v1"
_LIMIT: Final = 65_536
MODE: Final = 0o644
MOST: Final = 100
"""Catalogues of an archive."""


class RootPin(StrEnum):
    """Why the first root of a catalogue is trusted."""

    GIVEN = "given"
    """The user gave the root's file."""
    FIRST_USE = "first-use"
    """The root is what the address answered when it was first followed: nothing proves it."""


@dataclass(frozen=True, slots=True)
class FollowRecord:
    """A catalogue that is followed: its name here, its place, and which root is trusted, since
    when and why. That never changes while it is followed.
    """

    name: str
    place: str
    root_version: int
    root: Digest
    pinned: RootPin
    since: datetime

    @property
    def label(self) -> str:
        """What stands beside its name wherever it is shown."""
        return " (trusted on first use)" if self.pinned is RootPin.FIRST_USE else ""

    def encode(self) -> bytes:
        document: dict[str, Any] = {
            "type": _TYPE,
            "name": self.name,
            "place": self.place,
            "root_version": self.root_version,
            "root": self.root.hex,
            "pinned": self.pinned.value,
            "since": write_time(self.since),
        }
        return json.dumps(document, indent=1).encode() + b"\n"

    @classmethod
    def decode(cls, body: bytes) -> "FollowRecord":
        """Raises :class:`CorruptError`."""
        try:
            said = load_json(body, _LIMIT)
            since = read_time(said["since"])
            if said["type"] != _TYPE or since is None or not isinstance(said["place"], str):
                raise CorruptError("not the record of a followed catalogue")
            version = said["root_version"]
            if type(version) is not int or version < 1:
                raise CorruptError("the record of a followed catalogue names no root")
            return cls(
                check_catalogue(said["name"]),
                said["place"],
                version,
                Digest(said["root"]),
                RootPin(said["pinned"]),
                since,
            )
        except (KeyError, TypeError, ValueError, MalformedError, UsageError) as error:
            raise CorruptError(f"the record of a followed catalogue is wrong: {error}") from error


def followed_folder(home: Path, name: str) -> Path:
    return home.joinpath(*_FOLDER, _FOLLOWED, check_catalogue(name))


def own_folder(home: Path, name: str) -> Path:
    return home.joinpath(*_FOLDER, _OWN, check_catalogue(name))


def lock_file(home: Path) -> Path:
    """Held by what changes catalogues of this archive."""
    return home.joinpath(*_FOLDER, "lock")


def followed_names(home: Path) -> list[str]:
    """The catalogues that are followed, by name; cheap where there are none."""
    folder = home.joinpath(*_FOLDER, _FOLLOWED)
    return [name for name in disk.listed(folder) if (folder / name / _RECORD).exists()][:MOST]


def own_names(home: Path) -> list[str]:
    """The catalogues that are made here."""
    return disk.listed(home.joinpath(*_FOLDER, _OWN))[:MOST]


def read_record(home: Path, name: str) -> FollowRecord:
    """Raises :class:`NotFoundError` where it is not followed, and :class:`CorruptError`."""
    path = followed_folder(home, name) / _RECORD
    data = read_small(path)
    if data is None:
        raise NotFoundError(
            f"no catalogue {name!r} is followed", hint="'outlast catalogue ls' lists them"
        )
    body = unseal(_sealed_name(name), data)
    if body is None:
        raise CorruptError(
            f"{path} is damaged: which root is trusted cannot be told",
            hint="'outlast catalogue unfollow' it, and follow it again with --root",
        )
    return FollowRecord.decode(body)


def write_record(home: Path, record: FollowRecord) -> None:
    """Makes the folder of a followed catalogue with its record, durably."""
    path = followed_folder(home, record.name) / _RECORD
    write_small(path, seal(_sealed_name(record.name), record.encode()))


def read_small(path: Path, most: int = _LIMIT) -> bytes | None:
    """A small file; None where there is none."""
    with disk.reporting(path):
        try:
            with path.open("rb") as file:
                data = file.read(most + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
    if len(data) > most:
        raise CorruptError(f"{path} has more than {most} bytes")
    return data


def write_small(path: Path, data: bytes, mode: int = MODE) -> None:
    """Writes a file durably and atomically; call with the lock of catalogues held."""
    with disk.reporting(path):
        disk.make_dir(path.parent)
        temp = path.with_name(f".{path.name}.new")
        disk.remove(temp)  # of a process that was killed
        disk.write_temp(temp, data, mode)
        disk.publish(temp, path)


def _sealed_name(name: str) -> str:
    return "/".join((*_FOLDER, _FOLLOWED, name, _RECORD))
