"""Pinned identities: who may sign with a short-lived certificate of sigstore, by the name in it and
the issuer that vouched for the name. There is no key to pin: each signature has one of its own.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import urlsplit

from outlast.core.errors import BadNameError, CorruptError, UsageError, one_line
from outlast.core.names import RepoId
from outlast.features.trust.keys.pin_folder import DamagedPin, PinFolder
from outlast.features.trust.keys.pins import PinRole, PinState, check_namespace
from outlast.store.archive import Archive
from outlast.store.records.equals import text_of
from outlast.store.records.facts import load_document
from outlast.store.writer import WriteSession

MOST_IDENTITY: Final = 500
"""Characters of a name or an issuer. Guess: workflows of GitHub have some 150."""
_FOLDER: Final = "identities"


@dataclass(frozen=True, slots=True, order=True)
class SigstoreIdentity:
    """`name`: the mail address or URI of a certificate, written as there; `issuer`: the URL of the
    OpenID issuer that vouched for it. The same name of another issuer is another identity.
    """

    name: str
    issuer: str

    def __str__(self) -> str:
        return f"{self.name} (issuer {self.issuer})"

    @classmethod
    def checked(cls, name: str, issuer: str) -> Self:
        """Of what a person typed. Raises :class:`UsageError`."""
        for option, text in (("--identity", name), ("--issuer", issuer)):
            if not _is_plain(text):
                raise UsageError(f"{option} is a word of at most {MOST_IDENTITY} characters")
        if not _is_url(issuer):
            raise UsageError(
                "--issuer is the URL of an OpenID issuer",
                hint="as in the certificate: https://accounts.google.com, for one",
            )
        return cls(name, issuer)


@dataclass(frozen=True, slots=True)
class IdentityPin:
    """`identity` counts as a publisher of the models of `namespace`. `since`: when it was pinned;
    `ended`: when that was revoked, for the reason `why` (ISO 8601, UTC); `label`: what the operator
    calls it.
    """

    namespace: str
    identity: SigstoreIdentity
    since: str
    label: str = ""
    ended: str = ""
    why: str = ""

    @property
    def state(self) -> PinState:
        return PinState.REVOKED if self.ended else PinState.ACTIVE

    def covers(self, repo: RepoId) -> bool:
        """Whether it counts for a model, however that is spelled."""
        name = repo.name.lower()
        return self.namespace in {name, name.partition("/")[0]}

    def encode(self) -> bytes:
        document: dict[str, Any] = {
            "namespace": self.namespace,
            "identity": self.identity.name,
            "issuer": self.identity.issuer,
            "since": self.since,
            "label": self.label,
        }
        if self.ended:
            document |= {"ended": self.ended, "why": self.why}
        return json.dumps(document, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """The inverse. Raises :class:`CorruptError`."""
        said = load_document(body)
        try:
            name, issuer = text_of(said["identity"]), text_of(said["issuer"])
            return cls(
                namespace=check_namespace(text_of(said["namespace"]), PinRole.PUBLISHER),
                identity=SigstoreIdentity.checked(name, issuer),
                since=text_of(said["since"]),
                label=text_of(said["label"]),
                ended=text_of(said.get("ended", "")),
                why=text_of(said.get("why", "")),
            )
        except (BadNameError, UsageError, KeyError, ValueError) as error:
            raise CorruptError(f"it is no pin: {error}") from None


class IdentityPins:
    """The pinned identities of an archive. Thread-safe; read anew where another process changed
    them.
    """

    def __init__(self, archive: Archive) -> None:
        self._folder = PinFolder(archive, _FOLDER, IdentityPin.decode, _name_of)

    @property
    def stamp(self) -> int:
        """Another number whenever a pin may be another."""
        return self._folder.stamp

    def all(self) -> list[IdentityPin]:
        """All that can be read, by namespace."""
        return [found for found in self._folder.all() if isinstance(found, IdentityPin)]

    def damaged(self) -> list[DamagedPin]:
        """Those that cannot be read: their identities do not count."""
        return [found for found in self._folder.all() if isinstance(found, DamagedPin)]

    def put(self, writer: WriteSession, pin: IdentityPin) -> None:
        """Takes the place of the pin of that identity for that namespace."""
        self._folder.put(writer, pin)


def _name_of(pin: IdentityPin) -> str:
    said = f"{pin.identity.issuer}\0{pin.identity.name}"
    return hashlib.sha256(said.encode()).hexdigest()


def _is_plain(text: str) -> bool:
    is_word = text.isprintable() and not any(map(str.isspace, text))
    return bool(text) and len(text) <= MOST_IDENTITY and is_word and one_line(text, 1000) == text


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(url.hostname)
    except ValueError:
        return False
