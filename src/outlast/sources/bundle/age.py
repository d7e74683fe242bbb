"""Keys of encrypted bundles: age files are written and read by `pyrage`, of the extra [age]."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from outlast.codec.bundle.sealed import Envelope, SealedContents
from outlast.core.errors import BadConfigError, CorruptError, LockedError, UsageError
from outlast.sources.bundle.media import read_small

_MOST_FILE: Final = 256 * 1024
"""Bytes of a file of recipients or identities."""
_MOST_RECIPIENTS: Final = 100
_SHOWN: Final = 24


class PairedKey:
    """The :class:`~outlast.codec.bundle.sealed.CellKey` of a bundle: an X25519 identity of age that
    is made for it alone.
    """

    def __init__(self, secret: str | None = None) -> None:
        """A new one, or that of an envelope. Raises :class:`CorruptError`."""
        self._age = _pyrage()
        identity = self._age.x25519.Identity
        try:
            self._identity = identity.generate() if secret is None else identity.from_str(secret)
        except self._age.IdentityError:
            raise CorruptError("the envelope of the bundle holds no key") from None
        self._recipient = self._identity.to_public()

    @property
    def secret(self) -> str:
        return str(self._identity)

    def seal(self, data: bytes) -> bytes:
        return bytes(self._age.encrypt(data, [self._recipient]))

    def open(self, data: bytes) -> bytes:
        try:
            return bytes(self._age.decrypt(data, [self._identity]))
        except self._age.DecryptError:
            raise CorruptError("not encrypted with the bundle's key, or changed since") from None


def seal_envelope(envelope: Envelope, recipients: Sequence[str]) -> bytes:
    """The envelope as an age file for `recipients`, which are public keys."""
    return bytes(_pyrage().encrypt(envelope.to_bytes(), [*map(_recipient, recipients)]))


def read_recipients(named: Iterable[str]) -> tuple[str, ...]:
    """Public keys: those that are named (``age1…``, ``ssh-…``), and those in files, one a line.
    Sorted. Raises :class:`UsageError` for what is neither.
    """
    found: set[str] = set()
    for text in named:
        is_key = text.startswith(("age1", "ssh-"))
        lines = [text] if is_key else _lines(_read(Path(text), "recipients"))
        if not lines:
            raise UsageError(f"no recipient in {text}")
        found.update(lines)
    if len(found) > _MOST_RECIPIENTS:
        raise UsageError(f"{len(found)} recipients; a bundle has at most {_MOST_RECIPIENTS}")
    for key in found:
        _recipient(key)
    return tuple(sorted(found))


class Keyring:
    """The identities that may open bundles: those of a file, read when an encrypted one comes."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def unlock(self, contents: SealedContents) -> Envelope:
        """What the envelope of a bundle holds. Raises :class:`LockedError` where no identity is
        given, or none fits, and :class:`MalformedError`.
        """
        if self._path is None:
            raise LockedError(f"the bundle {contents.id.short}… is encrypted")
        identities = _identities(_read(self._path, "identities"), self._path)
        age = _pyrage()
        try:
            data = bytes(age.decrypt(contents.envelope, identities))
        except age.DecryptError as error:
            raise LockedError(
                f"no identity in {self._path} opens the bundle {contents.id.short}…: {error}",
                hint="it is encrypted for other recipients, or its envelope was changed",
            ) from None
        return Envelope.from_bytes(data)


NO_KEYS: Final = Keyring()


def _identities(data: bytes, path: Path) -> list[Any]:
    """Of a file as `age-keygen` writes it, or an OpenSSH private key without a passphrase."""
    age = _pyrage()
    try:
        if data.lstrip().startswith(b"-----BEGIN"):
            return [age.ssh.Identity.from_buffer(data)]
        found = [age.x25519.Identity.from_str(line) for line in _lines(data)]
    except age.IdentityError as error:
        raise BadConfigError(
            f"{path} has something that is no identity: {error}",
            hint="name a file of age-keygen, or an OpenSSH private key without a passphrase",
        ) from None
    if not found:
        raise BadConfigError(f"no identity in {path}")
    return found


def _recipient(text: str) -> Any:
    age = _pyrage()
    make: Callable[[str], Any] = age.x25519.Recipient.from_str
    if text.startswith("ssh-"):
        make = age.ssh.Recipient.from_str
    try:
        return make(text)
    except age.RecipientError as error:
        raise UsageError(
            f"not a recipient: {text[:_SHOWN]!r}: {error}",
            hint="write an age public key (age1…), an ssh public key, or a file of them",
        ) from None


def _read(path: Path, what: str) -> bytes:
    data = read_small(path.resolve(), _MOST_FILE)
    if data is None:
        raise BadConfigError(f"no file of {what} at {path}, or it is too large")
    return data


def _lines(data: bytes) -> list[str]:
    """The lines that are no comments."""
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _pyrage() -> Any:
    try:
        import pyrage  # noqa: PLC0415 - of the extra [age]
    except ImportError:
        raise BadConfigError(
            "encrypted bundles need the library pyrage, which is not installed",
            hint="pip install '.[age]' in a checkout of outlast",
        ) from None
    return pyrage
