"""What the subcommands share: options, keys, places, and how they say what they did."""

import functools
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from outlast.cli.config.file import config_path, environment
from outlast.cli.edge import Session
from outlast.core.errors import NotFoundError, UsageError
from outlast.features.trust.catalogue.folders import own_folder
from outlast.features.trust.catalogue.library import require_tuf
from outlast.features.trust.catalogue.names import check_catalogue

F = TypeVar("F", bound=Callable[..., Any])
_MOST: int = 4096


def needs_library(command: F) -> F:
    """Says what to install before anything of the library is imported."""

    @functools.wraps(command)
    def checked(*arguments: Any, **given: Any) -> Any:
        require_tuf()
        return command(*arguments, **given)

    return checked  # type: ignore[return-value]  # the same signature


folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="The folder of the catalogue  [default: one in the archive's folder]",
)
keys_option = click.option(
    "--keys",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder with secret keys (repeatable)  [default: one in the configuration's folder]",
)
passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="File whose first line is the passphrase of the keys",
)


def now() -> datetime:
    """This moment, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def folder_of(run: Session, name: str, folder: Path | None) -> Path:
    """Where the catalogue `name` that is made here lies."""
    check_catalogue(name)
    return folder if folder is not None else own_folder(run.config.home, name)


def keys_of(name: str, keys: tuple[Path, ...]) -> list[Path]:
    """The folders with its keys."""
    return list(keys) or [config_path(environment()).parent / "catalogues" / check_catalogue(name)]


def read_passphrase(path: Path | None) -> bytes | None:
    """The first line of a file. Raises :class:`NotFoundError`, :class:`UsageError`."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            text = file.read(_MOST).split(b"\n")[0].rstrip(b"\r")
    except OSError as error:
        raise NotFoundError(f"no passphrase in {path}: {error.strerror}") from None
    if not text:
        raise UsageError(f"the first line of {path} is empty")
    return text


def asker(given: bytes | None) -> Callable[[Path], bytes]:
    """Asks for the passphrase of a key, if none was given and there is a terminal."""

    def ask(path: Path) -> bytes:
        if given is not None:
            return given
        if not sys.stdin.isatty():
            raise UsageError(
                f"{path} has a passphrase", hint="give it with --passphrase-file, or at a terminal"
            )
        text: str = click.prompt(f"passphrase of {path}", hide_input=True, err=True)
        return text.encode()

    return ask
