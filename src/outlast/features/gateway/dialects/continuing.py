"""The request that goes on from a text, and where that is not sound."""

from typing import Any, Final, Literal

from outlast.features.gateway.seams import Json

Continuing = Literal["prefill", "continue_final_message", "completion"]
"""How an engine goes on: it takes an assistant's last turn as begun (llama.cpp, Anthropic's older
models), it does so when asked (vLLM, SGLang), or its prompt is text (completions).
"""

_FORMS: Final = (
    "ebnf",
    "grammar",
    "guided_choice",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "json_schema",
    "regex",
    "structured_outputs",
)
"""Fields with which engines take a form that the whole answer has to have."""


def why_not(asked: Json) -> str | None:
    """None where an answer to `asked`, of which some text is there, may be continued by another
    engine; else the reason why not.
    """
    if (asked.get("n") or 1) != 1 or (asked.get("best_of") or 1) != 1:
        return "several answers were asked for"
    probs = asked.get("logprobs")  # 0 asks a completion for those of its own tokens
    if probs is not None and probs is not False:
        return "logprobs were asked for"
    form = asked.get("response_format")
    formed = isinstance(form, dict) and form.get("type") not in (None, "text")
    if formed or any(asked.get(name) for name in _FORMS):
        return "an answer of a given form is half-written"
    if _enforces_call(asked):
        return "a tool call was enforced, and text came"
    if set(asked.get("modalities") or ()) - {"text"}:
        return "more than text was asked for"
    if "prompt" in asked:
        return _why_not_prompt(asked)
    return None


def _enforces_call(asked: Json) -> bool:
    choice = asked.get("tool_choice")
    return bool(asked.get("tools")) and choice not in (None, "auto", "none")


def _why_not_prompt(asked: Json) -> str | None:
    if not isinstance(asked["prompt"], str):
        return "the prompt is not one text"
    if asked.get("echo") or asked.get("suffix"):
        return "the answer is to hold more than what follows the prompt"
    return None


def continued(body: Json, text: str, how: Continuing, *, spent: int = 0) -> Json:
    """The request after which an engine says what follows `text`. `spent` tokens are taken off the
    request's limits; one is always left. With no text it is the request as it was. Raises
    ValueError where `how` does not fit the body.
    """
    if not text:
        return dict(body)
    found = dict(body)
    for limit in ("max_tokens", "max_completion_tokens", "min_tokens"):
        if isinstance(found.get(limit), int):
            found[limit] = max(1, found[limit] - spent)
    if how == "completion":
        if not isinstance(body.get("prompt"), str):
            raise ValueError("only a completion of one text goes on as a completion")
        found["prompt"] = body["prompt"] + text
        return found
    if "messages" not in body:
        raise ValueError("only a chat goes on from a begun turn")
    found["messages"] = _begun(body["messages"], text)
    found["add_generation_prompt"] = False
    if how == "continue_final_message":
        found["continue_final_message"] = True
    return found


def _begun(messages: list[Json], text: str) -> list[Json]:
    """The conversation with `text` as the begun turn; one that the caller began grows."""
    last: Any = messages[-1] if messages else {}
    content = last.get("content")
    if last.get("role") == "assistant" and isinstance(content, str) and not last.get("tool_calls"):
        return [*messages[:-1], {**last, "content": content + text}]
    return [*messages, {"role": "assistant", "content": text}]
