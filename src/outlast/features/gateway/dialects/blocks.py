"""An answer as blocks: thinking, text, refusal, call. Chat has them in fields of one message; the
other dialects have them one after another.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from outlast.features.gateway.seams import BrokenStream, Json

BlockKind = Literal["thinking", "text", "refusal", "call"]


@dataclass(slots=True)
class AnswerBlock:
    """One block of an answer. `pieces` are its text, or the JSON of a call's arguments; `call` and
    `name` are of calls, `logprobs` of text.
    """

    kind: BlockKind
    index: int
    call: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    logprobs: list[Json] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def thought_of(message: Json) -> str:
    """The thinking in a message or a delta: vLLM, SGLang, llama.cpp and DeepSeek call it
    ``reasoning_content``, OpenRouter and newer vLLM ``reasoning``.
    """
    found = message.get("reasoning_content") or message.get("reasoning")
    return found if isinstance(found, str) else ""


def blocks_of(message: Json, logprobs: Json | None = None) -> list[AnswerBlock]:
    """The blocks of a whole message of an assistant."""
    found: list[AnswerBlock] = []

    def add(kind: BlockKind, text: str, call: str = "", name: str = "") -> None:
        found.append(AnswerBlock(kind, len(found), call, name, [text]))

    if thought := thought_of(message):
        add("thinking", thought)
    if content := _text(message.get("content")):
        add("text", content)
        found[-1].logprobs = list((logprobs or {}).get("content") or ())
    if refusal := message.get("refusal"):
        add("refusal", str(refusal))
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        name, arguments = str(function.get("name", "")), str(function.get("arguments") or "{}")
        add("call", arguments, str(call.get("id", "")), name)
    return found


def _text(content: object) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


class BlockWriter(ABC):
    """Turns chunks of chat into blocks that open, grow and close, one at a time. A dialect says
    how each step is written.
    """

    def __init__(self) -> None:
        self.blocks: list[AnswerBlock] = []
        self.finish: str | None = None
        self.stopped_by: str | None = None
        self.usage: Json | None = None
        self._open: AnswerBlock | None = None
        self._calls: dict[int, AnswerBlock] = {}
        self._begun = False

    def feed(self, chunk: Json) -> bytes:
        """The bytes for one chunk. Raises :class:`BrokenStream` where calls are mixed up."""
        out = b"" if self._begun else self._begin(chunk)
        if chunk.get("usage"):
            self.usage = chunk["usage"]
        for choice in chunk.get("choices") or ():
            if not choice.get("index"):  # these dialects have one answer
                out += b"".join(self._steps(choice))
        return out

    def end(self, note: Json | None) -> bytes:
        """The last bytes; `note` is the field ``outlast`` of the answer."""
        out = b"" if self._begun else self._begin({})
        return out + self._close() + self.written_end(note)

    def error(self, status: int, message: str) -> bytes:
        """An event that says that the answer ends in an error. Nothing may follow it."""
        out = b"" if self._begun else self._begin({})
        return out + self.written_error(status, message)

    def _begin(self, chunk: Json) -> bytes:
        self._begun = True
        return self.written_start(chunk)

    def _steps(self, choice: Json) -> Iterator[bytes]:
        delta = choice.get("delta") or {}
        if thought := thought_of(delta):
            yield self._grow("thinking", thought, [])
        if content := delta.get("content"):
            yield self._grow("text", content, (choice.get("logprobs") or {}).get("content") or [])
        if refusal := delta.get("refusal"):
            yield self._grow("refusal", refusal, [])
        for call in delta.get("tool_calls") or ():
            yield self._call(call)
        if choice.get("finish_reason"):
            self.finish = choice["finish_reason"]
            stop = choice.get("stop_reason")
            self.stopped_by = stop if isinstance(stop, str) else None

    def _grow(self, kind: BlockKind, text: str, logprobs: list[Json]) -> bytes:
        out, block = b"", self._open
        if block is None or block.kind != kind:
            out, block = self._opened(AnswerBlock(kind, len(self.blocks)))
        block.pieces.append(text)
        block.logprobs += logprobs
        return out + self.written_piece(block, text, logprobs)

    def _call(self, call: Json) -> bytes:
        number, function = call.get("index") or 0, call.get("function") or {}
        block, out = self._calls.get(number), b""
        if block is None:
            name, ident = function.get("name"), call.get("id") or f"call_{number}"
            if not name:
                raise BrokenStream("a tool call begins without a name")
            block = AnswerBlock("call", len(self.blocks), str(ident), str(name))
            out, block = self._opened(block)
            self._calls[number] = block
        if not (arguments := function.get("arguments")):
            return out
        if block is not self._open:
            raise BrokenStream("a tool call goes on after another one began")
        block.pieces.append(arguments)
        return out + self.written_piece(block, arguments, [])

    def _opened(self, block: AnswerBlock) -> tuple[bytes, AnswerBlock]:
        out = self._close()
        self.blocks.append(block)
        self._open = block
        return out + self.written_open(block), block

    def _close(self) -> bytes:
        block, self._open = self._open, None
        return b"" if block is None else self.written_close(block)

    # What a dialect writes

    @abstractmethod
    def written_start(self, chunk: Json) -> bytes: ...

    @abstractmethod
    def written_open(self, block: AnswerBlock) -> bytes: ...

    @abstractmethod
    def written_piece(self, block: AnswerBlock, text: str, logprobs: list[Json]) -> bytes: ...

    @abstractmethod
    def written_close(self, block: AnswerBlock) -> bytes: ...

    @abstractmethod
    def written_end(self, note: Json | None) -> bytes: ...

    @abstractmethod
    def written_error(self, status: int, message: str) -> bytes: ...
