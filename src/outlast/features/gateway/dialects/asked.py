"""A request as understood, and the two ways to say no: a request that is refused, and a provider's
stream that is not sound.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from outlast.features.gateway.seams import Json, RequestRefused

Kind = Literal["chat", "completions", "embeddings"]
INVALID = "invalid_request_error"


def refused(message: str, param: str | None = None) -> RequestRefused:
    """The caller's own mistake: status 400."""
    return RequestRefused(400, INVALID, message, param)


@dataclass(frozen=True, slots=True)
class DialectAsked:
    """A request that may be sent on. `kind` says which of a provider's paths takes `chat`: a chat
    body of OpenAI's for most dialects; the body as it came for completions and embeddings. Nothing
    of it is shared with later requests. `restore` is what the answer in the caller's dialect needs.
    `dropped` names the fields that have no counterpart in `chat`, and so have no effect.
    """

    kind: Kind
    model: str
    stream: bool
    chat: Json
    restore: Mapping[str, Any] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
