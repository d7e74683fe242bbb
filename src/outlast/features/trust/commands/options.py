"""What the commands of trust share: the user's keys, and how a passphrase is asked for."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from outlast.cli.config.file import config_path, environment
from outlast.core.errors import BadKeyError, NotFoundError, UsageError
from outlast.core.printable import printable
from outlast.features.trust.keys.public import MAX_KEY_TEXT, PublicKey, parse_public_key
from outlast.features.trust.keys.secret import (
    MAX_PASSPHRASE,
    AskPassphrase,
    KeyFolder,
    read_private,
)
from outlast.features.trust.keys.signing import Signer, default_name, open_signer
from outlast.store import disk

F = TypeVar("F", bound=Callable[..., Any])
_FOLDER: Final = "keys"

key_option = click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="KEY",
    help="A key of 'outlast key list', or the file of one of SSH or minisign (repeatable)  "
    "[default: your only key]",
)
passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The passphrase of the key is the first line of this file",
)
out_option = click.option(
    "--out",
    "--output",
    "out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the statement to this file, too",
)


def own_keys() -> KeyFolder:
    """The user's keys: beside the configuration file, never in the archive."""
    return KeyFolder(config_path(environment()).parent / _FOLDER)


def signers(names: Sequence[str], passphrase_file: Path | None) -> list[Signer]:
    """The signers for these keys, or for the user's only one. Raises :class:`UsageError` for a
    key that is named twice.
    """
    folder, ask = own_keys(), asking(passphrase_file)
    found = [open_signer(n, folder, ask) for n in names or [default_name(folder)]]
    if len({signer.key for signer in found}) < len(found):
        raise UsageError("one key is named twice")
    return found


def asking(path: Path | None) -> AskPassphrase:
    """Asks for a passphrase: a file, or else the person at the terminal."""

    def ask(name: str) -> bytes:
        if path is not None:
            return passphrase_of(path)
        if not sys.stdin.isatty():
            raise BadKeyError(
                f"the key {name} has a passphrase, and there is no terminal to ask for it",
                hint="give --passphrase-file FILE",
            )
        said: str = click.prompt(
            f"passphrase of the key {printable(name)}", hide_input=True, err=True
        )
        return said.encode()

    return ask


def passphrase_of(path: Path) -> bytes:
    """The first line of a file that only its owner can read. Raises :class:`BadKeyError`."""
    line = read_private(path).partition(b"\n")[0].removesuffix(b"\r")
    if not 1 <= len(line) <= MAX_PASSPHRASE:
        raise BadKeyError(f"{path} has no passphrase in its first line")
    return line


def public_key(text: str) -> PublicKey:
    """The public key of that name, in the file of that path, or written out. Raises
    :class:`NotFoundError` and :class:`BadKeyError`.
    """
    folder = own_keys()
    if folder.has(text):
        return folder.get(text).public
    if text.startswith(("ssh-", "ecdsa-", "RW")) and not Path(text).exists():
        return parse_public_key(text)
    data = read_small(Path(text), MAX_KEY_TEXT, "key")
    return parse_public_key(data.decode("utf-8", "replace"))


def read_small(path: Path, limit: int, what: str) -> bytes:
    """A file of at most `limit` bytes. Raises :class:`NotFoundError` and :class:`BadKeyError`."""
    path = path.expanduser()
    with disk.reporting(path):
        try:
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFoundError(
                f"no {what} {str(path)[:200]!r}", hint="give the path of a file"
            ) from None
    if len(data) > limit:
        raise BadKeyError(f"{path} has more than {limit} bytes")
    return data


def write_out(path: Path | None, data: bytes) -> str | None:
    """Writes a statement to the file that the user named; its path."""
    if path is None:
        return None
    with disk.reporting(path):
        path.write_bytes(data)
    return str(path)
