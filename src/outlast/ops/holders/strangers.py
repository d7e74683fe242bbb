"""Asks the nodes that are heard on the LAN while they are heard. Most of them may be invented, so
none of them keeps the others waiting for long.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from outlast.core.control import Control
from outlast.core.errors import OutlastError
from outlast.core.threads import DaemonPool
from outlast.ops.holders.nodes import Met, NodeAnswer
from outlast.ops.holders.tuning import Tuning
from outlast.swarm.settings import HostPort

if TYPE_CHECKING:
    from concurrent.futures import Future

Ask: TypeAlias = Callable[[HostPort], NodeAnswer]


class _Strangers:
    """The answers so far. Thread-safe."""

    def __init__(self, met: Met, ask: Ask, until: float) -> None:
        self._met = met
        self._ask = ask
        self._until = until
        self._lock = threading.Lock()
        self._answers: list[NodeAnswer] = []

    def work(self) -> None:
        """Asks one after the other, as long as any waits and there is time."""
        while time.monotonic() < self._until and (peer := self._met.take()) is not None:
            with contextlib.suppress(OutlastError):
                answer = self._ask(peer)
                with self._lock:
                    self._answers.append(answer)

    def answers(self) -> list[NodeAnswer]:
        with self._lock:
            return sorted(self._answers, key=lambda answer: answer.holder.name)


def ask_strangers(
    met: Met, ask: Ask, control: Control, *, listen_until: float, tuning: Tuning
) -> list[NodeAnswer]:
    """The answers of those that are heard before `listen_until` (monotonic seconds), by name. Ends
    after `tuning.answer` seconds, also where some have not answered; a bug is raised.
    """
    until = time.monotonic() + tuning.answer
    asking = _Strangers(met, ask, until)
    pool = DaemonPool(tuning.stranger_threads, "strangers")
    working: list[Future[None]] = []
    while (now := time.monotonic()) < until:
        control.cancel.check()
        ended = [future for future in working if future.done()]
        working = [future for future in working if not future.done()]
        for future in ended:
            future.result()
        idle = min(met.waits, tuning.stranger_threads - len(working))
        working += [pool.submit(asking.work) for _ in range(idle)]
        if not working and now >= listen_until and not met.is_crowded:
            break
        control.cancel.wait(tuning.poll)
    return asking.answers()
