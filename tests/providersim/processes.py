"""Stand-in providers as processes of their own, so that a test can kill one."""

import multiprocessing
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Final, Self

from tests.providersim.faults import Fault
from tests.providersim.server import ProviderSim

# The server of forks has all modules: a provider starts in 20 ms.
_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.providersim.server"])
_PATIENCE: Final = 60


@dataclass
class ProviderProcess:
    """``with ProviderProcess(tokens=8) as one``: answers at `url` with these faults until the block
    ends. `kill` is SIGKILL; `start` starts it again at the same port, and returns once it listens.
    """

    tokens: int = 16
    faults: Sequence[Fault] = ()
    port: int = 0
    _process: ForkServerProcess | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """What OpenAI's client takes as its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Raises OSError where the port is taken."""
        ours, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=_provide, args=(theirs, self.tokens, list(self.faults), self.port)
        )
        self._process.start()
        theirs.close()
        try:
            if not ours.poll(_PATIENCE):
                raise OSError("the provider does not start")
            said = ours.recv()
        except EOFError:
            raise OSError("the provider ended") from None
        finally:
            ours.close()
        self.port = said

    def kill(self) -> None:
        """Ends it at once, whatever it is doing."""
        assert self._process is not None
        self._process.kill()
        self._process.join()
        self._process.close()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            self.kill()


def _provide(told: Connection, tokens: int, faults: list[Fault], port: int) -> None:
    with ProviderSim(tokens=tokens, faults=faults, port=port) as sim:
        told.send(int(sim.root.rpartition(":")[2]))
        told.close()
        threading.Event().wait()
