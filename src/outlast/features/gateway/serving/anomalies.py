"""Answers that are well-formed and no answers: what their ends say. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from outlast.features.gateway.seams import Json
from outlast.features.gateway.upstream.faults import Fault, FaultKind, error_in_stream

_FAILED: Final = frozenset({"error", "abort", "cancelled", "insufficient_system_resource"})
_SAYS: Final = (
    "content",
    "reasoning_content",
    "reasoning",
    "refusal",
    "tool_calls",
    "function_call",
    "audio",
)
"""Fields of a message or delta that say something."""


def unsound_whole(kind: str, answer: Json) -> Fault | None:
    """The fault of a whole answer; None where it is sound."""
    if (fault := error_in_stream(answer)) is not None:
        return fault
    if kind == "embeddings":
        if not isinstance(answer.get("data"), list) or not answer["data"]:
            return Fault(FaultKind.ANOMALY, "the answer has no embeddings")
        return None
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return Fault(FaultKind.ANOMALY, "the answer has no choices")
    first = choices[0]
    message = first.get("message")
    says = says_something({"delta": message, "text": first.get("text")})
    return unsound_end(first.get("finish_reason"), says=says)


def unsound_end(finish: object, *, says: bool) -> Fault | None:
    """The fault of an answer's end; `says`: whether it said something before."""
    if not isinstance(finish, str):
        return Fault(FaultKind.CUT, "the answer ends without a finish_reason")
    if finish in _FAILED:
        return Fault(FaultKind.ANOMALY, f"the answer ends with {finish}")
    if not says and finish in {"length", "content_filter"}:
        return Fault(FaultKind.ANOMALY, f"an empty answer ends with {finish}")
    return None


def says_something(choice: Mapping[str, Any]) -> bool:
    """Whether a choice of a chunk has a part of the answer in it."""
    delta = choice.get("delta")
    if isinstance(delta, dict) and any(delta.get(name) for name in _SAYS):
        return True
    return bool(choice.get("text"))


def says_beside_text(choice: Mapping[str, Any]) -> bool:
    """Whether it has one that is no text, so that none can go on from the text alone."""
    delta = choice.get("delta")
    return isinstance(delta, dict) and any(delta.get(name) for name in _SAYS[1:])


def text_of(choice: Mapping[str, Any]) -> str:
    """The text of a choice of a chunk, if it is the first one's."""
    if choice.get("index", 0) != 0:
        return ""
    delta = choice.get("delta")
    text = delta.get("content") if isinstance(delta, dict) else choice.get("text")
    return text if isinstance(text, str) else ""


def answers_of(chat: Json) -> int:
    """How many answers a request asks for."""
    count = chat.get("n")
    prompts = chat.get("prompt")
    several = len(prompts) if isinstance(prompts, list) and prompts else 1
    if several > 1 and not all(isinstance(prompt, str | list) for prompt in prompts or ()):
        several = 1  # the tokens of one prompt
    return several * (count if isinstance(count, int) and 0 < count <= 1024 else 1)
