"""A request as understood, and the two ways to say no: a request that is refused, and a provider's
stream that is not sound.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["chat", "completions", "embeddings"]
INVALID = "invalid_request_error"


class RequestRefused(Exception):  # noqa: N818 - it is an answer
    """A request that is answered with `status` and a sentence. `kind` is the type of the error and
    `param` the field at fault, as error documents of OpenAI have them.
    """

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.param = status, kind, param


def refused(message: str, param: str | None = None) -> RequestRefused:
    """The caller's own mistake: status 400."""
    return RequestRefused(400, INVALID, message, param)


class BrokenStream(Exception):  # noqa: N818 - a judgement
    """A provider's stream is not sound; the text is the reason. `kind` is one of

    - ``garbage``: bytes, JSON or fields that are no answer;
    - ``large``: more than the bounds allow;
    - ``error``: the provider says that it failed, with `status` where it says one;
    - ``cut``: the stream ended before its end;
    - ``finish``: a finish_reason that does not fit what came;
    - ``filtered``: the provider's filter ended the answer;
    - ``model``: another model goes on.
    """

    def __init__(self, reason: str, kind: str = "garbage", status: int | None = None) -> None:
        super().__init__(reason)
        self.kind, self.status = kind, status


@dataclass(frozen=True, slots=True)
class Understood:
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
