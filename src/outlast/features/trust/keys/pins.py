"""Pins: which keys count in this archive, for which models, and as what.

A pin is a small record of its own with a second copy. It says for ever how it was made, and stays
when its key is retired or revoked.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from outlast.core.errors import BadNameError, CorruptError, MalformedError, one_line
from outlast.core.names import RepoId, RepoKind
from outlast.features.trust.keys.pin_folder import DamagedPin, PinFolder
from outlast.features.trust.keys.public import PublicKey, parse_line
from outlast.store.archive import Archive
from outlast.store.records.equals import text_of
from outlast.store.records.facts import load_document
from outlast.store.writer import WriteSession

EVERYTHING: Final = "*"
"""The namespace of observers and revokers who are trusted with all models."""
MOST_RECOVERY: Final = 8
"""Recovery keys of one pin. Guess: three hands of a publisher, and their successors."""
_FOLDER: Final = "pins"


class PinRole(StrEnum):
    """What the signatures of a key count for."""

    PUBLISHER = "publisher"
    OBSERVER = "observer"
    REVOKER = "revoker"


class How(StrEnum):
    """How a pin was made."""

    EXPLICIT = "explicit"
    FIRST_USE = "first use"
    """The key was taken from a statement that came first: nothing else speaks for it."""
    ROTATION = "rotation"
    """A key that was pinned before signed it."""
    RECOVERY = "recovery"
    """A recovery key that was named before signed it."""


class PinState(StrEnum):
    """Whether a pin counts."""

    ACTIVE = "active"
    RETIRED = "retired"
    """The publisher has another key by now; what this one signed is stale."""
    REVOKED = "revoked"
    """The key may be in other hands: what it signed proves nothing."""


@dataclass(frozen=True, slots=True)
class Pin:
    """`key` counts as `role` for the models of `namespace`. `since`: when it was pinned; `ended`:
    when it was retired or revoked, for the reason `why` (ISO 8601, UTC). `recovery`: fingerprints
    of the keys that may put another in its place. `began`: how the first key of a line of rotations
    was pinned.
    """

    namespace: str
    role: PinRole
    key: PublicKey
    how: How
    since: str
    name: str = ""
    state: PinState = PinState.ACTIVE
    ended: str = ""
    why: str = ""
    recovery: tuple[str, ...] = ()
    began: How = How.EXPLICIT

    def covers(self, repo: RepoId) -> bool:
        """Whether it counts for a model, however that is spelled."""
        name = repo.name.lower()
        return self.namespace in {EVERYTHING, name, name.partition("/")[0]}

    @property
    def label(self) -> str:
        """What it is called where claims are shown; the label of a first use never goes."""
        name = self.name or self.key.comment
        called = f"{name} ({self.key.short})" if name else self.key.short
        return f"{called}, pinned on first use" if self.began is How.FIRST_USE else called

    def overlaps(self, namespace: str) -> bool:
        """Whether a model may be in both namespaces."""
        return (
            EVERYTHING in {self.namespace, namespace}
            or self.namespace == namespace
            or self.namespace.startswith(f"{namespace}/")
            or namespace.startswith(f"{self.namespace}/")
        )

    def encode(self) -> bytes:
        document: dict[str, Any] = {
            "namespace": self.namespace,
            "role": self.role,
            "key": self.key.line,
            "how": self.how,
            "since": self.since,
            "name": self.name,
            "state": self.state,
        }
        if self.ended:
            document |= {"ended": self.ended, "why": self.why}
        if self.began is not How.EXPLICIT:
            document["began"] = self.began
        if self.recovery:
            document["recovery"] = list(self.recovery)
        return json.dumps(document, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """The inverse. Raises :class:`CorruptError`."""
        said = load_document(body)
        recovery = said.get("recovery", [])
        if not isinstance(recovery, list) or len(recovery) > MOST_RECOVERY:
            raise CorruptError("its recovery keys are no list")
        try:
            return cls(
                namespace=check_namespace(text_of(said["namespace"]), PinRole(said["role"])),
                role=PinRole(said["role"]),
                key=parse_line(said["key"]),
                how=How(said["how"]),
                since=text_of(said["since"]),
                name=text_of(said["name"]),
                state=PinState(said["state"]),
                ended=text_of(said.get("ended", "")),
                why=text_of(said.get("why", "")),
                recovery=tuple(map(text_of, recovery)),
                began=How(said.get("began", How.EXPLICIT)),
            )
        except (MalformedError, BadNameError, KeyError, ValueError) as error:
            raise CorruptError(f"it is no pin: {error}") from None


def check_namespace(text: str, role: PinRole) -> str:
    """`text` as a namespace: ``org``, ``org/name``, in lower case, or ``*`` for what is no
    publisher's. Raises :class:`BadNameError`.
    """
    if text == EVERYTHING and role is not PinRole.PUBLISHER:
        return text
    try:
        return RepoId(RepoKind.MODEL, text).name.lower()
    except BadNameError:
        raise BadNameError(
            f"not a publisher's name: {one_line(text, 100)!r}",
            hint="write org or org/name; * is for observers and revokers alone",
        ) from None


class Pins:
    """The pins of keys of an archive. Thread-safe; read anew where another process changed them."""

    def __init__(self, archive: Archive) -> None:
        self._folder = PinFolder(archive, _FOLDER, Pin.decode, _name_of)

    @property
    def stamp(self) -> int:
        """Another number whenever a pin may be another."""
        return self._folder.stamp

    def all(self) -> list[Pin]:
        """All that can be read, by namespace, role and key."""
        return [found for found in self._folder.all() if isinstance(found, Pin)]

    def damaged(self) -> list[DamagedPin]:
        """Those that cannot be read: their keys do not count."""
        return [found for found in self._folder.all() if isinstance(found, DamagedPin)]

    def put(self, writer: WriteSession, pin: Pin) -> None:
        """Takes the place of the pin of that key with that role for that namespace."""
        self._folder.put(writer, pin)


def _name_of(pin: Pin) -> str:
    digest = pin.key.fingerprint.removeprefix("SHA256:").replace("/", "_").replace("+", "-")
    return f"{pin.role}-{digest}"
