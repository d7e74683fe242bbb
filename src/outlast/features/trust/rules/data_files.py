"""Reads the small TOML files of the package and of the operator: bounded, and refused as a whole
where anything is wrong with them.
"""

import os
import stat
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from outlast.core.errors import BadConfigError, one_line

S = TypeVar("S", bound=msgspec.Struct)

MOST_BYTES: Final = 4 << 20
"""Of a file: a hundred times the table of publishers in the package. Guess."""
_PACKAGE: Final = "outlast.features.trust.rules"


def packaged(name: str) -> str:
    """The text of a file that ships in the package."""
    return (resources.files(_PACKAGE) / "data" / name).read_text(encoding="utf-8")


def read_bounded(path: Path, what: str) -> bytes:
    """The bytes of a file of the operator's. Raises :class:`BadConfigError`."""
    try:
        # A named pipe would wait for a writer for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise BadConfigError(f"{what}: {path} is not a file")
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadConfigError(f"{what}: {path}: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise BadConfigError(f"{what}: {path} has more than {MOST_BYTES} bytes")
    return data


def parse_toml(kind: type[S], data: bytes | str, where: str) -> S:
    """A TOML document as `kind` declares it. Raises :class:`BadConfigError`."""
    try:
        text = data if isinstance(data, str) else data.decode()
        document: dict[str, Any] = tomllib.loads(text)
        return msgspec.convert(document, kind)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise BadConfigError(f"{where}: {one_line(str(error), 300)}") from None
