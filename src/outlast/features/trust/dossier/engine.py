"""What the engine consists of: the packages of the extra `run` as they are installed here, compared
with what they brought, and the hashes of their files in the lock.
"""

import base64
import hashlib
import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOCK: Final = Path(__file__).parents[2] / "bundle" / "carried" / "requirements.txt"
"""The lock that a bundle carries for the program: of the extra `run`, with hashes."""
_EXTRA: Final = re.compile(r"extra\s*==\s*['\"](?P<extra>[\w-]+)['\"]")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LOCKED: Final = re.compile(r"^(?P<name>[a-z0-9._-]+)==(?P<version>[^\s;\\]+)", re.IGNORECASE)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_RECORD: Final = "RECORD"
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class EnginePackage:
    """A package of the engine. `version` of "": it is not installed. `record` is the sha256 of the
    list of its files and their hashes; of its `files`, `changed` are not as that list says.
    `locked` are the hashes of the files of the package index that the lock allows for
    `locked_version`.
    """

    name: str
    version: str = ""
    licence: str = ""
    record: str = ""
    files: int = 0
    changed: tuple[str, ...] = ()
    locked_version: str = ""
    locked: tuple[str, ...] = ()


def engine_packages() -> Iterator[EnginePackage]:
    """Those that the extra `run` needs. Reads and hashes their files."""
    locked = read_lock(LOCK.read_text("utf-8") if LOCK.exists() else "")
    try:
        needs = importlib.metadata.requires("outlast") or []
    except importlib.metadata.PackageNotFoundError:
        needs = []
    for need in needs:
        extra, name = _EXTRA.search(need), _NAME.match(need)
        if extra is not None and extra["extra"] == "run" and name is not None:
            yield _package(name[0], locked.get(_plain(name[0]), ("", ())))


def read_lock(text: str) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """The version and the hashes of each package in a lock of pip."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    name = ""
    for line in text.splitlines():
        if (head := _LOCKED.match(line)) is not None:
            name = _plain(head["name"])
            found[name] = head["version"], ()
        if name:
            version, hashes = found[name]
            found[name] = version, (*hashes, *_HASH.findall(line))
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _package(name: str, locked: tuple[str, tuple[str, ...]]) -> EnginePackage:
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return EnginePackage(name, locked_version=locked[0], locked=locked[1])
    files = [one for one in found.files or () if one.hash is not None]
    return EnginePackage(
        name=name,
        version=found.version,
        licence=_licence(found),
        record=hashlib.sha256((found.read_text(_RECORD) or "").encode()).hexdigest(),
        files=len(files),
        changed=tuple(str(one) for one in files if not _is_right(one)),
        locked_version=locked[0],
        locked=locked[1],
    )


def _licence(found: importlib.metadata.Distribution) -> str:
    for name in ("License-Expression", "License"):
        if name in found.metadata:
            return found.metadata[name].partition("\n")[0]
    return ""


def _is_right(file: importlib.metadata.PackagePath) -> bool:
    """Whether a file is as the list of the package says."""
    assert file.hash is not None
    try:
        hasher = hashlib.new(file.hash.mode)
        with open(file.locate(), "rb") as opened:
            while chunk := opened.read(_CHUNK):
                hasher.update(chunk)
    except (OSError, ValueError):
        return False
    digest = base64.urlsafe_b64encode(hasher.digest()).rstrip(b"=").decode()
    return digest == file.hash.value
