"""What every engine offers: a conversation in, text as it is made, and at the end what it took."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from outlast.core.cancel import Cancel
from outlast.core.errors import UsageError

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation; `role` is one of :data:`ROLES`."""

    role: str
    content: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise UsageError(f"unknown role {self.role!r}", hint=f"one of {', '.join(ROLES)}")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is picked. None leaves a value to the model's own defaults.

    `max_tokens` bounds the answer (None: until the model ends it or its context is full);
    `temperature` 0 always takes the likeliest token; `top_p` and `min_p` are probabilities;
    `top_k` and `seed` are counts. Raises :class:`UsageError` for values out of range.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        _within("max_tokens", self.max_tokens, 1, 2**31 - 1)
        _within("temperature", self.temperature, 0, 100)
        _within("top_p", self.top_p, 0, 1)
        _within("top_k", self.top_k, 0, 2**31 - 1)
        _within("min_p", self.min_p, 0, 1)
        _within("seed", self.seed, 0, 2**32 - 2)


def _within(name: str, value: float | None, low: float, high: float) -> None:
    # `not (a <= x <= b)` and not `x < a or x > b`: the former also refuses NaN.
    if value is not None and not (low <= value <= high):
        raise UsageError(f"{name} must lie between {low} and {high}, and is {value}")


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of the answer. A `thought` is what a reasoning model tells itself before it
    answers; it does not belong into the next turn's messages.
    """

    text: str
    thought: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer took, as the engine measured it.

    `seconds` is the wall time from the request to the last token, the prompt included;
    `tokens_per_second` is the rate of generation alone, without the prompt. `finish` is ``stop``
    (the model ended its turn) or ``length`` (`max_tokens` or the context's end was reached).
    """

    prompt_tokens: int
    completion_tokens: int
    seconds: float
    tokens_per_second: float
    finish: str


@dataclass(frozen=True, slots=True)
class Sealing:
    """How an engine is kept off the network: `by` names what holds. It was given `requests`;
    `packets` went to or from it in its own network namespace; None where it has none, so that
    nothing counts them.
    """

    by: tuple[str, ...]
    requests: int
    packets: int | None


class Engine(Protocol):
    """A model that is ready to run. One conversation at a time; not thread-safe."""

    @property
    def name(self) -> str:
        """What users know the engine by, e.g. ``llama.cpp``."""

    @property
    def plain(self) -> bool:
        """True where the model has no chat template, so that a chat is a plain completion."""

    @property
    def build(self) -> str:
        """What brings the engine, and its version."""

    @property
    def sealing(self) -> Sealing | None:
        """How it is kept off the network, and what passed so far; None where it is not sealed."""

    def chat(
        self, messages: Sequence[ChatMessage], sampling: Sampling, cancel: Cancel
    ) -> Iterator[Delta | Usage]:
        """Answers `messages`: any number of :class:`Delta`, then exactly one :class:`Usage`.

        Closing the iterator early ends the answer; the engine stays usable. Raises
        :class:`Cancelled` once `cancel` is set (the engine stays usable then, too), and
        :class:`EngineError` when the prompt does not fit or the engine fails.
        """

    def close(self) -> None:
        """Ends the engine and frees its memory. May be called again."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
