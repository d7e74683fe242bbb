"""What an endpoint answered, checked: it may say anything."""

import json
import math
from dataclasses import dataclass
from typing import Any, Final, NoReturn

MOST_ANSWER: Final = 8 * 1024 * 1024
"""Bytes of an answer. Guess: 300 tokens with 20 likeliest of each take 500 KB."""
_MOST_TOKENS: Final = 4096
_MOST_TOP: Final = 1000
_MOST_CHOICES: Final = 16
"""Choices, and tool calls of one, that are read."""
_TOLERANCE: Final = 1e-3
"""Nats by which a log probability may be above 0, or a list out of order, by rounding."""
_REPLACED: Final = "\N{REPLACEMENT CHARACTER}"


class UntestableError(Exception):
    """An endpoint answers in a way from which nothing can be concluded: the message says why."""


@dataclass(frozen=True, slots=True)
class ServedToken:
    """A token as the endpoint tells of it: its bytes, its log probability in nats, and the list of
    likeliest ones, by their bytes. Tokens without bytes of their own are not in the list.
    """

    piece: bytes
    logprob: float
    top: dict[bytes, float]


@dataclass(frozen=True, slots=True)
class ServedAnswer:
    """`tokens` is None where no log probabilities came. `thought`: what a reasoning model says
    before its text, where it is shown. `finish`: why the endpoint says that the text ends;
    `others`: the texts of further choices; `calls`: name and arguments of each tool call;
    `billed_prompt` and `billed`: the tokens of the prompt and of the answer that it counts. What it
    does not tell is None, or empty.
    """

    text: str
    model: str
    tokens: tuple[ServedToken, ...] | None
    thought: str = ""
    finish: str | None = None
    others: tuple[str, ...] = ()
    calls: tuple[tuple[str, str], ...] = ()
    billed_prompt: int | None = None
    billed: int | None = None


def read_answer(data: bytes) -> ServedAnswer:
    """The answer in the body of a chat completion. Raises :class:`UntestableError`."""
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_no_number)
        choice, *others = document["choices"][:_MOST_CHOICES]
        text, *rest = (one["message"].get("content") or "" for one in (choice, *others))
        thought = choice["message"].get("reasoning_content") or ""
        model, finish = document.get("model", ""), choice.get("finish_reason")
        if not all(isinstance(one, str) for one in (text, *rest, thought, model)):
            raise UntestableError("an answer has no text")
        return ServedAnswer(
            text=text,
            model=model[:500],
            tokens=_tokens(choice.get("logprobs")),
            thought=thought,
            finish=finish[:100] if isinstance(finish, str) else None,
            others=tuple(rest),
            calls=_calls(choice["message"].get("tool_calls")),
            billed_prompt=_billed(document, "prompt_tokens"),
            billed=_billed(document, "completion_tokens"),
        )
    except UnicodeDecodeError:
        raise UntestableError("an answer is not UTF-8") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise UntestableError("an answer is not a chat completion") from None


def _no_number(said: str) -> NoReturn:
    raise UntestableError(f"an answer has the number {said}")


def _billed(document: dict[str, Any], what: str) -> int | None:
    usage = document.get("usage")
    count = usage.get(what) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and 0 <= count < 2**40 else None


def _calls(said: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(said, list):
        return ()
    named = [one["function"] for one in said[:_MOST_CHOICES]]
    return tuple((str(one["name"])[:100], str(one["arguments"])) for one in named)


def _tokens(said: Any) -> tuple[ServedToken, ...] | None:
    content = said.get("content") if isinstance(said, dict) else None
    if not isinstance(content, list):
        return None
    if len(content) > _MOST_TOKENS:
        raise UntestableError("an answer has more tokens than were asked for")
    return tuple(_token(one) for one in content)


def _token(said: dict[str, Any]) -> ServedToken:
    top: dict[bytes, float] = {}
    rows = said.get("top_logprobs") or []
    if len(rows) > _MOST_TOP:
        raise UntestableError("a list of likeliest tokens is longer than was asked for")
    last = math.inf
    for row in rows:
        logprob = _logprob(row["logprob"])
        if logprob > last + _TOLERANCE:
            raise UntestableError("a list of likeliest tokens is not in order")
        last = logprob
        piece = _piece(row)
        if piece is None:
            continue
        if piece in top:
            raise UntestableError("a list of likeliest tokens names one twice")
        top[piece] = logprob
    if sum(map(math.exp, top.values())) > 1 + 0.02:
        raise UntestableError("the probabilities of a list sum to more than 1")
    return ServedToken(_piece(said) or b"", _logprob(said["logprob"]), top)


def _piece(said: dict[str, Any]) -> bytes | None:
    raw = said.get("bytes")
    if isinstance(raw, list):
        return bytes(raw) or None
    text = said["token"]
    return None if _REPLACED in text else text.encode("utf-8", "replace") or None


def _logprob(said: Any) -> float:
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said):
        raise UntestableError("a log probability is no number")
    if said > _TOLERANCE:
        raise UntestableError("a log probability is above 0")
    return float(said)
