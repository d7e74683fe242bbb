"""Signs with whatever key the user has: a key file of outlast, a key of SSH (by `ssh-keygen`, also
with an agent or a hardware key behind it), or a key of minisign.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from outlast.core.errors import BadKeyError, MalformedError, NotFoundError, UsageError, one_line
from outlast.features.trust.keys import minisign, sshsig
from outlast.features.trust.keys.public import MAX_KEY_TEXT, PublicKey, parse_public_key
from outlast.features.trust.keys.secret import (
    AskPassphrase,
    KeyFolder,
    load_secret,
    read_private,
)
from outlast.features.trust.keys.verifying import verify
from outlast.store import disk

_SSH_SECRET: Final = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_SSH_PUBLIC: Final = (b"ssh-", b"ecdsa-")
_PEM: Final = (b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
_PATIENCE: Final = 300.0
"""Seconds in which a person types a passphrase, or touches a hardware key."""


class Signer(Protocol):
    """Signs with one key."""

    @property
    def key(self) -> PublicKey: ...

    def sign(self, message: bytes) -> bytes:
        """A signature that `verifying.verify` takes. Raises :class:`BadKeyError`."""


@dataclass(frozen=True, slots=True)
class FileSigner:
    """A key file of outlast; it is read, and its passphrase asked for, when it signs."""

    key: PublicKey
    path: Path
    ask: AskPassphrase

    def sign(self, message: bytes) -> bytes:
        secret = load_secret(self.path, self.ask)
        if secret.public_key().public_bytes_raw() != self.key.raw:
            raise BadKeyError(f"{self.path} is not the key that the file beside it says")
        return secret.sign(message)


@dataclass(frozen=True, slots=True)
class SshSigner:
    """A key of SSH: `path` is its secret file, or the public one of a key that an agent has."""

    key: PublicKey
    path: Path

    def sign(self, message: bytes) -> bytes:
        command = ["ssh-keygen", "-Y", "sign", "-q", "-n", sshsig.NAMESPACE.decode()]
        text = _run([*command, "-f", str(self.path)], message)
        try:
            found = sshsig.unarmored(text.decode("ascii", "replace"))
        except MalformedError as error:
            raise BadKeyError(f"ssh-keygen gave no signature: {error}") from None
        return _checked(self.key, message, found, "ssh-keygen")


@dataclass(frozen=True, slots=True)
class MinisignSigner:
    """A key of minisign. An encrypted one is read by `minisign`, which asks for its password."""

    key: PublicKey
    path: Path

    def sign(self, message: bytes) -> bytes:
        text = read_private(self.path).decode("utf-8", "replace")
        if not minisign.is_encrypted(text):
            return minisign.read_secret(text).sign(message, _COMMENT)
        with tempfile.TemporaryDirectory(prefix="outlast-sign-") as folder:
            plain, signed = Path(folder, "statement"), Path(folder, "statement.minisig")
            plain.write_bytes(message)
            command = ["minisign", "-S", "-s", str(self.path), "-m", str(plain)]
            _run([*command, "-x", str(signed), "-t", _COMMENT], None)
            found = signed.read_bytes()
        return _checked(self.key, message, found, "minisign")


_COMMENT: Final = "outlast attestation"


def open_signer(name: str, folder: KeyFolder, ask: AskPassphrase) -> Signer:
    """The signer for the key of that name in `folder`, or in the file of that path. Raises
    :class:`NotFoundError` and :class:`BadKeyError`.
    """
    if folder.has(name):
        own = folder.get(name)
        return FileSigner(own.public, own.path, ask)
    path = Path(name).expanduser()
    with disk.reporting(path):
        head = disk.read_plain(path, MAX_KEY_TEXT)
    if head is None:
        raise NotFoundError(
            f"no key {one_line(name, 200)!r}",
            hint="'outlast key list' shows your keys; or give the path of a key file",
        )
    if head.startswith(_PEM):
        public = load_secret(path, ask).public_key().public_bytes_raw()
        return FileSigner(PublicKey.of_ed25519(public, path.stem), path, ask)
    if head.startswith(_SSH_SECRET):
        read_private(path)  # as ssh-keygen does, refuses what others can read
        return SshSigner(_public_beside(path, "ssh-keygen -y writes one"), path)
    if head.startswith(_SSH_PUBLIC):
        return SshSigner(parse_public_key(head.decode("utf-8", "replace")), path)
    if head.startswith(minisign.BEGIN):
        return _minisign_signer(path)
    raise BadKeyError(f"{path} is no key that signs", hint="give a secret key")


def default_name(folder: KeyFolder) -> str:
    """The name of the user's only key. Raises :class:`UsageError` where there is another number."""
    names = [own.name for own in folder.all()]
    if len(names) == 1:
        return names[0]
    if not names:
        raise UsageError("you have no key yet", hint="'outlast key new NAME' makes one")
    raise UsageError(
        f"you have {len(names)} keys: {', '.join(names[:5])}", hint="choose one with --key NAME"
    )


def _minisign_signer(path: Path) -> MinisignSigner:
    text = read_private(path).decode("utf-8", "replace")
    if minisign.is_encrypted(text):
        return MinisignSigner(_public_beside(path, "'minisign -R' writes one"), path)
    return MinisignSigner(minisign.read_secret(text).public, path)


def _public_beside(path: Path, how: str) -> PublicKey:
    """The public part of a key file, in the file beside it."""
    for beside in (path.with_name(path.name + ".pub"), path.with_suffix(".pub")):
        with disk.reporting(beside):
            data = disk.read_plain(beside, MAX_KEY_TEXT)
        if data is not None:
            return parse_public_key(data.decode("utf-8", "replace"))
    raise NotFoundError(f"no public key beside {path}", hint=f"put it at {path}.pub: {how}")


def _checked(key: PublicKey, message: bytes, signature: bytes, program: str) -> bytes:
    """`signature`, if it is one that will count."""
    if not verify(key, message, signature):
        raise BadKeyError(f"the signature of {program} is not by the key {key.short}")
    return signature


def _run(command: Sequence[str], data: bytes | None) -> bytes:
    """What a program writes; it may ask the person at the terminal."""
    if shutil.which(command[0]) is None:
        raise UsageError(f"this key needs the program {command[0]}", hint="install it")
    try:
        done = subprocess.run(
            [*command], input=data, capture_output=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise BadKeyError(f"{command[0]} did not end in {_PATIENCE:.0f} s") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise BadKeyError(f"{command[0]} did not sign: {(said or ['it says nothing'])[-1]}")
    return done.stdout
