"""A model that answers HTTP: an engine's server in its worker process, on a socket of its own."""

from dataclasses import dataclass
from typing import Final

from outlast.core.closing import Closing
from outlast.core.errors import EngineError
from outlast.engines.base import Sealing
from outlast.engines.process import Worker
from outlast.engines.tuning import TUNING, Tuning

CHAT_SOCKET: Final = "chat.sock"
"""The socket in the worker's private folder: no port is opened."""


@dataclass(frozen=True, slots=True)
class Service:
    """What to serve of a model, which answers call `model_alias`. `embeddings` of None serves them
    where the file says that the model was made for them. `states`: the embeddings of a text are the
    last hidden states of its tokens, one vector each, beside completions.
    """

    model_alias: str
    embeddings: bool | None = None
    states: bool = False


class ServedModel(Closing):
    """An engine's HTTP server, which listens on a socket in a private folder and on no port: what
    clients may ask of it is the caller's business.

    `tools` tells whether the model's chat template presents tools to the model, and `embeddings`
    whether embeddings are served. `build` names the engine and its version. A chat template has
    `tuning`'s bounds.
    """

    def __init__(
        self, worker: Worker, *, tools: bool, embeddings: bool, build: str, tuning: Tuning = TUNING
    ) -> None:
        self._worker = worker
        self._condemned: EngineError | None = None
        self._sealing: Sealing | None = None
        self._requests = 0
        self.tools = tools
        self.embeddings = embeddings
        self.build = build
        self.template_seconds = tuning.template_seconds
        self.template_bytes = tuning.template_bytes

    @property
    def socket_path(self) -> str:
        """The path of the socket that it listens on, short enough for a socket's address."""
        return self._worker.socket_path(CHAT_SOCKET)

    @property
    def sealing(self) -> Sealing | None:
        """See :attr:`outlast.engines.base.Engine.sealing`."""
        if self._worker.sealed_by and self._worker.alive:
            self._sealing = Sealing(self._worker.sealed_by, self._requests, self._worker.packets)
        return self._sealing

    def count_request(self) -> None:
        """Notes that a client asked for something."""
        self._requests += 1

    def condemn(self, error: EngineError) -> None:
        """Ends the server, by force, because of `error`."""
        self._condemned = error
        self.close()

    @property
    def alive(self) -> bool:
        return self._worker.alive

    def failure(self) -> EngineError:
        """Why the server ended by itself, as far as it can be told. Ends what is left of it."""
        return self._condemned or self._worker.failure()

    def close(self) -> None:
        """Ends requests under way, frees the memory. May be called again."""
        _ = self.sealing  # the last look at what it sent
        self._worker.stop(None if self._condemned is None else 0)
