"""Key files of outlast: Ed25519 in PEM (PKCS #8), in a folder of the user's, never in the archive.

A file that other users can read is refused. Beside each secret key lies the public one, so that the
list of keys needs no passphrase.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from outlast.core.errors import BadKeyError, NotFoundError
from outlast.features.trust.keys.extra import require_cryptography
from outlast.features.trust.keys.public import MAX_KEY_TEXT, PublicKey, parse_public_key
from outlast.store import disk

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_PUBLIC_MODE: Final = 0o644
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_SUFFIX: Final = ".pem"
_PUBLIC: Final = ".pub"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
MAX_PASSPHRASE: Final = 1024

AskPassphrase = Callable[[str], bytes]
"""Asks for the passphrase of the key that it names."""


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A key of the user: the file with the secret part, and the public part."""

    name: str
    path: Path
    public: PublicKey


class KeyFolder:
    """The user's keys, in the folder `path`, which need not exist."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    def new(self, name: str, passphrase: bytes | None) -> OwnKey:
        """Makes a key. Raises :class:`BadKeyError` where there is one of that name."""
        require_cryptography()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PrivateKey,
        )

        path = self._path(name)
        secret = Ed25519PrivateKey.generate()
        public = PublicKey.of_ed25519(secret.public_key().public_bytes_raw(), name)
        with disk.reporting(self.path):
            self.path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        # The secret part first: the public one alone would be a key that signs nothing.
        _write_new(path, _encoded(secret, passphrase), KEY_MODE)
        _write_new(path.with_suffix(_PUBLIC), f"{public.line} {name}\n".encode(), _PUBLIC_MODE)
        return OwnKey(name, path, public)

    def all(self) -> Iterator[OwnKey]:
        """All keys, by name."""
        for name in disk.listed(self.path):
            if name.endswith(_SUFFIX) and _NAME.match(name.removesuffix(_SUFFIX)):
                yield self.get(name.removesuffix(_SUFFIX))

    def has(self, name: str) -> bool:
        """Whether there is a key of that name."""
        return bool(_NAME.match(name)) and self._path(name).exists()

    def get(self, name: str) -> OwnKey:
        """The key of that name. Raises :class:`NotFoundError` and :class:`BadKeyError`."""
        path = self._path(name)
        public = path.with_suffix(_PUBLIC)
        with disk.reporting(public):
            data = disk.read_plain(public, MAX_KEY_TEXT)
        if data is None:
            raise NotFoundError(
                f"no key {name!r} in {self.path}", hint="'outlast key list' shows what there is"
            )
        return OwnKey(name, path, parse_public_key(data.decode("utf-8", "replace")))

    def _path(self, name: str) -> Path:
        if not _NAME.match(name):
            raise BadKeyError(
                f"not a name for a key: {name[:100]!r}", hint="use letters, digits and . _ -"
            )
        return self.path / f"{name}{_SUFFIX}"


def load_secret(path: Path, ask: AskPassphrase) -> "Ed25519PrivateKey":
    """The secret key in a file; `ask` is called if it is encrypted. Raises
    :class:`BadKeyError`.
    """
    require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
    )
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        load_pem_private_key,
    )

    data = read_private(path)
    passphrase = ask(path.stem) if b"ENCRYPTED" in data.partition(b"\n")[0] else None
    try:
        found = load_pem_private_key(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        wrong = " with this passphrase" if passphrase is not None else ""
        raise BadKeyError(f"{path} holds no key that can be read{wrong}") from None
    if not isinstance(found, Ed25519PrivateKey):
        raise BadKeyError(f"{path} holds a key that is not of Ed25519")
    return found


def read_private(path: Path) -> bytes:
    """The bytes of a file that only its owner can read. Raises :class:`BadKeyError` for any other,
    :class:`NotFoundError` where there is none.
    """
    with disk.reporting(path):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise NotFoundError(f"no key at {path}") from None
        with open(fd, "rb") as file:
            _require_private(path, os.fstat(fd))
            data = file.read(MAX_KEY_TEXT + 1)
    if len(data) > MAX_KEY_TEXT:
        raise BadKeyError(f"{path} is too large for a key")
    return data


def _require_private(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise BadKeyError(f"{path} is not a plain file")
    if found.st_mode & _OTHERS:
        raise BadKeyError(
            f"other users can read or change {path} (mode {stat.S_IMODE(found.st_mode):04o})",
            hint=f"chmod 600 {path}; if others had access to it, make a new key",
        )
    if found.st_uid not in {os.geteuid(), 0}:
        raise BadKeyError(f"{path} belongs to another user")


def _encoded(secret: "Ed25519PrivateKey", passphrase: bytes | None) -> bytes:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        BestAvailableEncryption,
        Encoding,
        KeySerializationEncryption,
        NoEncryption,
        PrivateFormat,
    )

    how: KeySerializationEncryption = NoEncryption()
    if passphrase:
        how = BestAvailableEncryption(passphrase)
    return secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Writes a file that is not there yet, durably; it has its mode from the first byte on."""
    temp = path.with_name(f".{path.name}.{os.getpid()}")
    with disk.reporting(path):
        disk.remove(temp)
        try:
            disk.write_temp(temp, data, mode)
            done = disk.publish_new(temp, path)
            if done is None and not path.exists():  # a file system without hard links
                disk.publish(temp, path)
                done = True
            if not done:
                raise BadKeyError(f"there is a key at {path} already", hint="choose another name")
        finally:
            disk.remove(temp)
