"""Reading the keep-list that the command line names."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from outlast.core.errors import NotFoundError
from outlast.core.keep_list import MAX_BYTES, KeepLine, parse_keep_list
from outlast.store import disk

_STDIN: Final = "-"


def list_option(text: str, *, required: bool = False) -> Callable[..., Any]:
    """``--file``; `text` is its help."""
    return click.option("-f", "--file", required=required, metavar="FILE", help=text)


def read_list(file: str) -> tuple[KeepLine, ...]:
    """The lines of the list in `file`, or of stdin. Raises :class:`NotFoundError` and
    :class:`~outlast.core.errors.BadListError`.
    """
    if file == _STDIN:
        return parse_keep_list(sys.stdin.buffer.read(MAX_BYTES + 1), "stdin")
    path = Path(file)
    with disk.reporting(path):
        try:
            with path.open("rb") as opened:
                data = opened.read(MAX_BYTES + 1)
        except IsADirectoryError:
            raise NotFoundError(
                f"{path} is a folder, not a keep-list", hint="name a file in it"
            ) from None
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"no keep-list at {path}", hint="check the path") from None
    return parse_keep_list(data, path.name)
