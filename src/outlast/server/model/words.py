"""What the API says when it refuses: in OpenAI's form, and in words that fit `outlast run`."""

import re
from collections.abc import Mapping
from typing import Any

_UNSUPPORTED = 501
# What belongs to llama.cpp's own command line, and does not help users of ours.
_FOREIGN = re.compile(r"--[a-z]|LLAMA_ARG|mmproj|[Ss]tart it with|\bjinja\b")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\s+-\s+hint:\s*")
_MESSAGE_LIMIT = 2000


class RequestError(Exception):
    """A request that is answered with `status` and a sentence. `code` names the case for programs,
    `param` the field of the request that is at fault.
    """

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param

    def document(self) -> dict[str, Any]:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == _UNSUPPORTED:
            kind = "not_supported_error"
        return {
            "error": {
                "message": str(self),
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        }


def engine_error(status: int, document: object) -> RequestError:
    """The engine's own error, without what only the engine's own command line knows."""
    error = document.get("error") if isinstance(document, Mapping) else None
    error = error if isinstance(error, Mapping) else {}
    if error.get("type") == "exceed_context_size_error":
        asked, room = error.get("n_prompt_tokens"), error.get("n_ctx")
        return RequestError(
            400,
            f"the request has {asked} tokens, and the context holds {room}: "
            "send less, or start 'outlast run' with a larger --context",
            code="context_length_exceeded",
        )
    message = str(error.get("message") or "")[:_MESSAGE_LIMIT]
    for word in ("image", "audio", "video"):
        if f"{word} input is not supported" in message:
            return RequestError(
                400, f"this model takes no {word} here: text alone", code=f"no_{word}_input"
            )
    if status == _UNSUPPORTED:
        what = re.match(r"This server does not support ([a-z ]{1,40})\.", message)
        return RequestError(
            _UNSUPPORTED, f"{what[1] if what else 'this'} is not offered for this model"
        )
    kept = [part for part in _SENTENCE.split(message) if not _FOREIGN.search(part)]
    return RequestError(
        status, " ".join(kept).strip() or "the engine refused the request, and does not say why"
    )
