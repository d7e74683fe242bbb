"""Whether what a provider streams is a sound answer, and whether another engine may go on from
what was said so far.
"""

from typing import Any, Final

import msgspec

from outlast.features.gateway.dialects.anthropic_target import AnthropicEvents
from outlast.features.gateway.dialects.asked import Kind
from outlast.features.gateway.dialects.blocks import thought_of
from outlast.features.gateway.dialects.continuing import why_not
from outlast.features.gateway.dialects.sse import LINE, TOTAL, SseReader
from outlast.features.gateway.seams import BrokenStream, Json

_decode: Final = msgspec.json.Decoder().decode
_FAILED: Final = frozenset(("error", "abort", "aborted", "cancelled"))
"""What providers say in place of a reason: OpenRouter "error", vLLM "abort"."""
_TOKENS: Final = 10**9
_MESSAGE: Final = 200


class SseJudge:
    """Reads one stream. `kind` is the path that was asked; `anthropic`: the provider speaks
    Anthropic's messages, whose events become chunks. `line` and `total` bound what is read, in
    bytes; what is held is the text so far and one event.

    `finish` is the reason that was given, `usage` what the provider counted where it can be true,
    `tool_call_begun` and `thinking` tell what came beside text, and `doubts` has what is odd and
    does not break the answer: a usage that cannot be true, more chunks than tokens.
    """

    def __init__(
        self,
        kind: Kind = "chat",
        *,
        anthropic: bool = False,
        line: int = LINE,
        total: int = TOTAL,
    ) -> None:
        self.finish: str | None = None
        self.usage: Json | None = None
        self.tool_call_begun = False
        self.thinking = False
        self.done = False
        self.doubts: list[str] = []
        self._kind = kind
        self._reader = SseReader(line=line, total=total)
        self._events = AnthropicEvents() if anthropic else None
        self._text: list[str] = []
        self._refused = False
        self._model = ""
        self._counted = 0
        self._broken: BrokenStream | None = None

    @property
    def text(self) -> str:
        """The text of the first answer, as far as chunks were given."""
        return "".join(self._text)

    def feed(self, data: bytes) -> list[Json]:
        """The chunks that are whole with these bytes. Raises :class:`BrokenStream`; where sound
        chunks came before the trouble, they are given first and the next call raises, so that
        `text` is what the caller was given. What follows the end is not read.
        """
        was_done, found = self.done, list[Json]()
        if self._broken is not None:
            raise self._broken
        if was_done:
            return []
        try:
            for payload in self._reader.feed(data):
                if payload.rstrip() == b"[DONE]":
                    self._end()
                else:
                    found += self._chunks(payload, found)
                if self.done:
                    break
        except BrokenStream as broken:
            self._broken = broken
            if not found:
                raise
        return found

    def close(self) -> None:
        """The connection has ended. Raises :class:`BrokenStream` where the answer has not. A stream
        that gave its reason to finish is whole, also without ``[DONE]``.
        """
        if self._broken is not None:
            raise self._broken
        if not self.done:
            if self.finish is None or (self._events is not None and not self._events.done):
                raise BrokenStream("the stream was cut before the end of the answer", "cut")
            self._end()

    def may_continue(self, asked: Json) -> str | None:
        """None where another engine may go on from :attr:`text` as the answer to `asked`; else the
        reason why not. Before anything was said the request may be asked again as it is.
        """
        if self.tool_call_begun:
            return "a tool call has begun"
        if self._refused:
            return "a refusal has begun"
        if self.thinking and not self._text:
            return "its thinking is half-written"
        if not self._text:
            return None
        return why_not(asked)

    def _chunks(self, payload: bytes, found: list[Json]) -> list[Json]:
        document = _parsed(payload)
        if document.get("error") or document.get("type") == "error":
            raise _said_error(document)
        if self._events is None:
            self._take(document)
            return [document]
        # One by one: those before a broken one count as given.
        for chunk in self._events.feed(document):
            self._take(chunk)
            found.append(chunk)
        if self._events.done:
            self._end()
        return []

    def _take(self, chunk: Json) -> None:
        """Checks a chunk as a whole, and only then counts it."""
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            raise BrokenStream("a chunk has no list of choices")
        self._check_model(chunk.get("model"))
        pieces = [_ChoicePiece.of(choice, self._kind) for choice in choices]
        for piece in pieces:
            self._check(piece)
        for piece in pieces:
            self._count(piece)
        if chunk.get("usage") is not None:
            self._take_usage(chunk["usage"])

    def _check_model(self, model: Any) -> None:
        if not isinstance(model, str) or not model:
            return
        if self._model and model != self._model:
            told = f"{self._model[:60]!r} to {model[:60]!r}"
            raise BrokenStream(f"the model changed from {told} in the middle", "model")
        self._model = model

    def _check(self, piece: "_ChoicePiece") -> None:
        if piece.index:
            return
        if self.finish is not None and (piece.text or piece.call):
            raise BrokenStream("the answer goes on after its end", "finish")
        if piece.finish is None:
            return
        if piece.finish in _FAILED:
            raise BrokenStream(f"the provider ended with {piece.finish!r}", "finish")
        if piece.finish == "content_filter":
            raise BrokenStream("the provider's filter ended the answer", "filtered")
        said = bool(self._text or piece.text or self.thinking or piece.thought)
        call = self.tool_call_begun or piece.call
        if piece.finish == "length" and not said and not call:
            raise BrokenStream("the answer ended at its length without a token", "finish")
        if piece.finish in ("tool_calls", "function_call") and not call:
            raise BrokenStream("the answer ended with a tool call that is not there", "finish")

    def _count(self, piece: "_ChoicePiece") -> None:
        if piece.index:
            return
        if piece.text:
            self._text.append(piece.text)
        self._counted += bool(piece.text or piece.thought)
        self.thinking = self.thinking or bool(piece.thought)
        self._refused = self._refused or piece.refusal
        self.tool_call_begun = self.tool_call_begun or piece.call
        if piece.finish is not None:
            self.finish = piece.finish

    def _take_usage(self, usage: Any) -> None:
        found = sound_usage(usage)
        if found is None:
            self.doubts.append("the usage cannot be true")
        self.usage = found

    def _end(self) -> None:
        if self.finish is None:
            raise BrokenStream("the stream ended without a finish_reason", "cut")
        self.done = True
        said = (self.usage or {}).get("completion_tokens")
        if said is not None and self._counted > said + 1:
            self.doubts.append(f"{self._counted} chunks came with {said} tokens by its own count")


class _ChoicePiece(msgspec.Struct):
    """What one choice of a chunk says."""

    index: int
    text: str
    thought: bool
    call: bool
    refusal: bool
    finish: str | None

    @classmethod
    def of(cls, choice: Any, kind: Kind) -> "_ChoicePiece":
        """Raises :class:`BrokenStream` where it is not of the form."""
        if not isinstance(choice, dict):
            raise BrokenStream("a choice is no object")
        index, finish = choice.get("index", 0), choice.get("finish_reason") or None
        delta = choice if kind == "completions" else choice.get("delta") or {}
        if not isinstance(delta, dict) or not isinstance(index, int):
            raise BrokenStream("a choice has no delta")
        text = delta.get("text" if kind == "completions" else "content")
        calls = delta.get("tool_calls")
        if not isinstance(text, str | None) or not isinstance(finish, str | None):
            raise BrokenStream("a choice's text or finish_reason is no text")
        if calls is not None and not _are_calls(calls):
            raise BrokenStream("a tool call is not of its form")
        call = bool(calls or delta.get("function_call"))
        refusal = bool(delta.get("refusal"))
        return cls(index, text or "", bool(thought_of(delta)), call, refusal, finish)


def _are_calls(calls: Any) -> bool:
    return isinstance(calls, list) and all(
        isinstance(call, dict)
        and isinstance(call.get("index", 0), int | None)
        and isinstance(function := call.get("function") or {}, dict)
        and isinstance(function.get("name"), str | None)
        and isinstance(function.get("arguments"), str | None)
        for call in calls
    )


def _parsed(payload: bytes) -> Json:
    try:
        document = _decode(payload)
    except UnicodeDecodeError:
        raise BrokenStream("an event is not UTF-8") from None
    except (msgspec.MsgspecError, RecursionError):
        raise BrokenStream("an event is no JSON") from None
    if not isinstance(document, dict):
        raise BrokenStream("an event is no JSON object")
    return document


def _said_error(document: Json) -> BrokenStream:
    """What a provider says of its own failure, in one short line."""
    error = document.get("error")
    error = error if isinstance(error, dict) else {"message": error or document.get("message")}
    status = next(
        (error[key] for key in ("status", "code") if isinstance(error.get(key), int)),
        _STATUSES.get(str(error.get("type"))) or _STATUSES.get(str(error.get("code"))),
    )
    message = " ".join(str(error.get("message") or "an error").split())[:_MESSAGE]
    return BrokenStream(f"the provider broke off: {message}", "error", status)


_STATUSES: Final = {
    "api_error": 500,
    "authentication_error": 401,
    "insufficient_quota": 429,
    "not_found_error": 404,
    "overloaded_error": 529,
    "permission_error": 403,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "server_error": 500,
}


def sound_usage(usage: Any) -> Json | None:
    """A provider's count of tokens where it can be true: whole numbers from 0 to 10⁹ whose sum is
    the total; else None. A missing total is filled in.
    """
    if not isinstance(usage, dict):
        return None
    prompt, said = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    if not _is_count(prompt) or not _is_count(said):
        return None
    if usage.get("total_tokens", prompt + said) != prompt + said:
        return None
    details = {
        key: value for key, value in usage.items() if key.endswith("_details") and _counts(value)
    }
    counted = {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}
    return counted | details


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _TOKENS


def _counts(value: Any) -> bool:
    return isinstance(value, dict) and all(
        item is None or _is_count(item) for item in value.values()
    )
