"""Who asks a mirror, what the operator allows, and with whose authority hubs are asked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase

from outlast.core.names import RepoId
from outlast.sources.base import Source, without_token


@dataclass(frozen=True, slots=True)
class Asker:
    """A client. `token` is its token for the hub upstream, if it sent one that can be sent on;
    `granted` are the models (globs over what ``outlast ls`` shows) that the operator's file opens
    to it. `named` is false for a client that sent no token of any kind.
    """

    token: str | None = field(default=None, repr=False)
    granted: tuple[str, ...] = ()
    named: bool = False

    def is_granted(self, repo: RepoId) -> bool:
        """Whether the operator's file opens `repo` to this client."""
        return any(fnmatchcase(str(repo), pattern) for pattern in self.granted)


@dataclass(frozen=True, slots=True)
class AccessRules:
    """What the operator allows. With `open_restricted` every client may read private and gated
    models. While the hub gives no answer, a token that it admitted before counts as admitted for
    `offline` seconds after the hub last said so.
    """

    open_restricted: bool = False
    offline: float = 86400.0


class Verdict(Enum):
    """What the hub says of a token (or none) and a model: it may read it; the model is gated; it is
    hidden, which is private or missing; or there is no answer.
    """

    ADMITTED = "admitted"
    GATED = "gated"
    HIDDEN = "hidden"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Voice:
    """With whose authority hubs are asked for one request: `sources` carry the token. `key` tells
    voices apart without revealing a token; it is empty for the public one, which has no token.
    """

    key: str
    sources: tuple[Source, ...] = ()

    @property
    def is_public(self) -> bool:
        return not self.key


def reads_like_a_token(text: str) -> bool:
    """Whether `text` may be sent to a hub as a token: printable, without spaces, not too long."""
    return 0 < len(text) <= 1024 and text.isascii() and text.isprintable() and " " not in text


def public_voice(sources: Sequence[Source]) -> Voice:
    """Asks as everybody may: no source carries a token."""
    return Voice("", tuple(without_token(source) for source in sources))
