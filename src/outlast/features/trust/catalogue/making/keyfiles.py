"""Secret keys of catalogues: Ed25519 in PEM files (PKCS#8), mode 0600, outside the archive."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, Key, SSlibKey

from outlast.core.errors import MalformedError, NotFoundError, PolicyError, UsageError
from outlast.store import disk

Ask = Callable[[Path], bytes]
"""Asks for the passphrase of a file. Raises :class:`UsageError` where there is no terminal."""
_SUFFIX: Final = ".pem"
_LIMIT: Final = 16_384
_MOST: Final = 64
"""Keys of one folder."""
_ENCRYPTED: Final = b"ENCRYPTED"


def new_key(path: Path, passphrase: bytes | None) -> SSlibKey:
    """Makes a key and its file, which may not be there yet; and beside it the public key, as
    ``NAME.pub``. Raises :class:`PolicyError` where there is a file.
    """
    secret = Ed25519PrivateKey.generate()
    protect: KeySerializationEncryption = NoEncryption()
    if passphrase:
        protect = BestAvailableEncryption(passphrase)
    data = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protect)
    public = secret.public_key()
    with disk.reporting(path):
        disk.make_dir(path.parent)
        with contextlib.suppress(OSError):
            os.chmod(path.parent, 0o700)
        try:
            disk.write_temp(path, data, disk.PRIVATE)
        except FileExistsError:
            raise PolicyError(
                f"{path} is a key already: it is not replaced", hint="name another folder"
            ) from None
        text = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        beside = path.with_suffix(".pub")
        disk.remove(beside)
        disk.write_temp(beside, text, 0o644)
        disk.fsync_dir(path.parent)
    return SSlibKey.from_crypto(public)


def read_public(path: Path) -> SSlibKey:
    """The public key of a publisher: a PEM file. Raises :class:`MalformedError`."""
    data = _bytes_of(path)
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedError(
            f"{path} is not a public key in PEM", hint="give the .pub file of the key"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise MalformedError(f"{path} is a key of another kind than Ed25519")
    return SSlibKey.from_crypto(key)


class KeyRing:
    """The secret keys in some folders, by the ids of their public keys; a passphrase is asked for
    when its key has to sign.
    """

    def __init__(self, folders: Iterable[Path], ask: Ask) -> None:
        """Raises :class:`PolicyError` for a key that others may read."""
        self._ask = ask
        self._files: dict[str, Path] = {}
        self._signers: dict[str, CryptoSigner] = {}
        for folder in folders:
            for name in [n for n in disk.listed(folder) if n.endswith(_SUFFIX)][:_MOST]:
                self._add(folder / name)

    def _add(self, path: Path) -> None:
        with disk.reporting(path):
            mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise PolicyError(
                f"others may read the key {path}", hint=f"chmod 600 {path}, and consider a new one"
            )
        if _ENCRYPTED not in _bytes_of(path):
            signer = self._open(path, None)
            self._signers[signer.public_key.keyid] = signer
            return
        beside = path.with_suffix(".pub")
        if beside.exists():
            self._files[read_public(beside).keyid] = path

    def _open(self, path: Path, passphrase: bytes | None) -> CryptoSigner:
        try:
            secret = load_pem_private_key(_bytes_of(path), passphrase)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            text = "with this passphrase" if passphrase else "in PEM"
            raise UsageError(f"{path} is not a secret key {text}") from error
        if not isinstance(secret, Ed25519PrivateKey):
            raise UsageError(f"{path} is a key of another kind than Ed25519")
        return CryptoSigner(secret)

    def __contains__(self, keyid: str) -> bool:
        return keyid in self._signers or keyid in self._files

    def signers(self, keys: Mapping[str, Key]) -> list[CryptoSigner]:
        """Those of `keys` whose secret is here."""
        found = []
        for keyid in keys:
            if keyid not in self._signers and keyid in self._files:
                path = self._files[keyid]
                self._signers[keyid] = self._open(path, self._ask(path))
            if keyid in self._signers:
                found.append(self._signers[keyid])
        return found


def _bytes_of(path: Path) -> bytes:
    with disk.reporting(path):
        try:
            with path.open("rb") as file:
                data = file.read(_LIMIT + 1)
        except (FileNotFoundError, IsADirectoryError):
            raise NotFoundError(f"no key at {path}", hint="check the path") from None
    if len(data) > _LIMIT:
        raise MalformedError(f"{path} is too large for a key")
    return data
