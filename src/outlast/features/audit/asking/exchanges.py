"""What was sent to an endpoint and what came back, byte for byte: the raw evidence of an audit."""

import json
from dataclasses import dataclass, field
from typing import Final

from outlast.features.audit.asking.answers import UntestableError

MOST_KEPT: Final = 160 * 1024 * 1024
"""Bytes of all answers, as a report writes them. Guess: 200 answers of 512 tokens with 20 likeliest
of each take 150 MB."""


@dataclass(frozen=True, slots=True)
class KeptExchange:
    """One question and its answer: the question itself, both bodies as text, and the seconds from
    the request to the last byte.
    """

    prompt: str
    request: str
    response: str
    seconds: float


@dataclass(slots=True)
class Exchanges:
    """The exchanges of an audit, in order."""

    kept: list[KeptExchange] = field(default_factory=list)
    left: int = MOST_KEPT

    def add(self, prompt: str, request: bytes, response: bytes, seconds: float) -> None:
        """Keeps one. Raises :class:`UntestableError` where the answer is no text, or all of them
        together are too long.
        """
        try:
            text = response.decode()
        except UnicodeDecodeError:
            raise UntestableError("an answer is not UTF-8") from None
        # A text of control characters is six times as long in JSON.
        self.left -= len(json.dumps(text, ensure_ascii=False).encode())
        if self.left < 0:
            raise UntestableError("the answers are too long to be kept as evidence")
        self.kept.append(KeptExchange(prompt, request.decode(), text, round(seconds, 4)))
