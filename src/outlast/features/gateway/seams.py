"""What the parts of the gateway ask of each other: values and protocols alone.

`serving` answers requests; `dialects` understands what callers write and what providers stream;
`accounts` knows who may ask for how much; `routes` and `upstream` know where to ask. Money is in
whole nano-dollars; None is an unknown price, and never 0.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from outlast.features.gateway.accounts.values import Estimate, Spent

Json = dict[str, Any]
Continuing = Literal["prefill", "continue_final_message", "completion"]
"""How an engine goes on from a text: it takes the last assistant turn as begun (llama.cpp), it does
so when asked to (vLLM), or it takes a prompt (the completions of old)."""


class RequestRefused(Exception):  # noqa: N818 - it is an answer
    """A request that is answered with `status` and a sentence; `kind` and `param` as OpenAI's error
    documents have them: the type of the error, and the field at fault.
    """

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.param = status, kind, param


class BrokenStream(Exception):  # noqa: N818 - a judgement
    """An upstream's stream is not sound; the text is the reason. `kind` is one of

    - ``garbage``: bytes, JSON or fields that are no answer;
    - ``large``: more than the bounds allow;
    - ``error``: the provider says that it failed, with `status` where it says one;
    - ``cut``: the stream ended before its end;
    - ``finish``: a finish_reason that does not fit what came;
    - ``filtered``: the provider's filter ended the answer;
    - ``model``: another model goes on.
    """

    def __init__(self, reason: str, kind: str = "garbage", status: int | None = None) -> None:
        super().__init__(reason)
        self.kind, self.status = kind, status


class KeyRefused(Exception):  # noqa: N818 - an answer
    """The caller's key is missing, unknown or revoked; the text says which, without the key."""


class BudgetSpent(Exception):  # noqa: N818 - an answer
    """The caller may not ask for so much, or not now. `retry_after` in seconds, where waiting
    helps. `status` 429: a budget or a rate; 403: the model is not open to this key.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, status: int = 429
    ) -> None:
        super().__init__(message)
        self.retry_after, self.status = retry_after, status


class Understood(Protocol):
    """A request as understood. `chat` is OpenAI's chat body, or the body as it came for completions
    and embeddings; `restore` is what its dialect needs for the answer.
    """

    @property
    def model(self) -> str: ...

    @property
    def stream(self) -> bool: ...

    @property
    def chat(self) -> Json: ...

    @property
    def restore(self) -> Any: ...


class EventWriter(Protocol):
    """Writes a streamed answer in the caller's dialect."""

    def feed(self, chunk: Json) -> bytes:
        """The bytes for one chunk of OpenAI's; none where the caller hears nothing of it."""

    def end(self, note: Json | None) -> bytes:
        """The last bytes; `note` is the field ``outlast`` of the answer."""

    def error(self, status: int, message: str) -> bytes:
        """An event that says that the answer ends in an error."""


class Dialect(Protocol):
    """How a family of clients speaks."""

    def understand(self, body: bytes) -> Understood:
        """Raises :class:`RequestRefused`."""

    def whole(self, asked: Any, answer: Json) -> Json:
        """OpenAI's whole answer in this dialect."""

    def events(self, asked: Any) -> EventWriter: ...

    def refusal(self, status: int, kind: str, message: str, param: str | None = None) -> Json:
        """The document of an error."""


class StreamJudge(Protocol):
    """Reads the events of one upstream's stream, in bounded memory, and says whether it is sound.
    `text` is what was said so far; `done`: the stream came to its end.
    """

    @property
    def text(self) -> str: ...

    @property
    def finish(self) -> str | None: ...

    @property
    def usage(self) -> Mapping[str, Any] | None: ...

    @property
    def tool_call_begun(self) -> bool: ...

    @property
    def done(self) -> bool: ...

    def feed(self, data: bytes) -> list[Json]:
        """The chunks that are whole with these bytes. Raises :class:`BrokenStream`."""

    def may_continue(self, asked: Json) -> str | None:
        """None where another engine may go on from the text; else the reason why not."""


class Continue(Protocol):
    """Makes the request that goes on from a text."""

    def __call__(self, body: Json, text: str, how: Continuing) -> Json: ...


class KnownCaller(Protocol):
    """Whose key a request carries. `name` is for the ledger, never the key."""

    @property
    def name(self) -> str: ...


class Accounts(Protocol):
    """Who may ask for how much. Called on the event loop: returns at once."""

    @property
    def locked(self) -> bool:
        """Whether only callers with a key get in."""

    def authenticate(self, secret: str | None) -> KnownCaller:
        """Raises :class:`KeyRefused`."""

    def reserve(self, caller: Any, route: str, model: str, estimate: Estimate) -> Any:
        """Takes the estimate out of the caller's budgets. Raises :class:`BudgetSpent`."""

    def settle(self, reservation: Any, spent: Spent) -> None:
        """Puts what was spent in place of the estimate; once for each reservation."""

    def release(self, reservation: Any) -> None:
        """Gives all of the estimate back: nothing was spent."""

    def write(self) -> None:
        """Writes what was settled and waits for that. Called on a thread. Raises
        :class:`~outlast.core.errors.StorageError`.
        """


class Prices(Protocol):
    """What targets cost."""

    def money(
        self, provider: str, model: str, prompt_tokens: int, completion_tokens: int
    ) -> int | None:
        """Nano-dollars; None where the price is unknown."""
