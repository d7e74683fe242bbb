"""What goes wrong on request: README.md has the actions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

ACTIONS: Mapping[str, str] = {
    "status": "answers with `status`, `headers` and `body` (a usual error, if empty)",
    "ban": "answers with `status` (403) and a page of HTML",
    "reset": "resets the connection after `after` tokens (before any answer, if None)",
    "close": "closes the connection after `after` tokens, in the middle of the body",
    "end": "ends the stream properly after `after` tokens, without a finish and [DONE]",
    "stall": "says nothing more after `after` tokens (no answer at all, if None) for `seconds`",
    "drip": "waits `seconds` before each token",
    "delay": "waits `seconds` before the answer",
    "late": "sends an error event of `status` (429) after `after` tokens, and ends",
    "garbage": "sends bytes that are no events after `after` tokens",
    "malformed": "sends an event whose JSON is cut after `after` tokens",
    "utf8": "sends an event that is not UTF-8 after `after` tokens",
    "usage": "says `value` as its usage",
    "giant": "sends a body of `size` bytes (10 GB): a JSON text, or one line of a stream",
    "duplicate": "sends token `after` twice",
    "model": "calls the model `value` from token `after` on",
    "finish": "says `value` as finish_reason after `after` tokens; missing, if None",
    "tool_cut": "closes the connection after half of a tool call's arguments",
}
"""What each action does."""


@dataclass
class Fault:
    """What goes wrong, `count` times or always, with requests whose path, model, prompt and key
    contain the texts given. `after` counts tokens that were sent before it.
    """

    action: str
    after: int | None = None
    count: int | None = None
    path: str = ""
    model: str = ""
    prompt: str = ""
    key: str = ""
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 3600
    size: int = 10 * 10**9
    value: Any = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"no action {self.action!r}: {', '.join(ACTIONS)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """A fault of a request's header: JSON of the fields."""
        return cls(**json.loads(text))

    def fits(self, path: str, model: str, prompt: str, key: str) -> bool:
        return (
            self.count != 0
            and self.path in path
            and self.model in model
            and self.prompt in prompt
            and self.key in key
        )

    @property
    def tokens(self) -> int:
        """How many tokens are sent before it."""
        half_a_call = 2 if self.action == "tool_cut" else 0
        return half_a_call if self.after is None else self.after
