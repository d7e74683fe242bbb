"""What an engine tells of a text: how likely each token was, and what was likelier."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from outlast.core.cancel import Cancel
from outlast.engines.base import ChatMessage

if TYPE_CHECKING:
    from array import array


class TextToken(NamedTuple):
    """A token's number in the vocabulary, and the bytes that it stands for."""

    id: int
    piece: bytes


@dataclass(frozen=True, slots=True)
class ScoredPosition:
    """The distribution before one token of a text, without temperature: `ids` are the likeliest
    tokens in order, `logprobs` (nats) and `pieces` (bytes) theirs. `token` is the text's own.
    """

    token: int
    ids: "array[int]"
    logprobs: "array[float]"
    pieces: tuple[bytes, ...]

    @property
    def chosen(self) -> float | None:
        """The log probability of the text's own token; None where it is none of those kept."""
        try:
            return self.logprobs[self.ids.index(self.token)]
        except ValueError:
            return None


class Scorer(Protocol):
    """A loaded model that scores text. One request at a time; not thread-safe. Each call raises
    :class:`~outlast.core.errors.EngineError` where the engine fails or the text does not fit, and
    :class:`~outlast.core.errors.Cancelled`.
    """

    @property
    def build(self) -> str:
        """The engine and its version."""

    def render(self, messages: Sequence[ChatMessage], cancel: Cancel) -> list[TextToken]:
        """The tokens of a conversation under the model's own chat template, ready to be answered;
        of the plain text, where it has none.
        """

    def tokenize(self, text: str, cancel: Cancel) -> list[TextToken]:
        """The tokens of a text, without tokens that begin or end it."""

    def score(
        self, prompt: Sequence[int], text: Sequence[int], keep: int, cancel: Cancel
    ) -> list[ScoredPosition]:
        """The distribution before each token of `text`, which follows `prompt` (not empty), with
        the `keep` likeliest tokens.
        """

    def generate(
        self,
        prompt: Sequence[int],
        count: int,
        keep: int,
        cancel: Cancel,
        *,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[ScoredPosition]:
        """Up to `count` tokens that the model answers to `prompt`: fewer where it ends its answer.
        The distributions are those without temperature.
        """

    def close(self) -> None:
        """Frees the memory. May be called again."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
