"""The half of an engine that all engines in worker processes share: asking and being answered."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from outlast.core.cancel import Cancel
from outlast.core.closing import Closing
from outlast.core.errors import EndlessTemplateError, EngineError, UsageError
from outlast.engines.base import ChatMessage, Delta, Sampling, Sealing, Usage
from outlast.engines.process import TooSlowError, Worker
from outlast.engines.tuning import TUNING, Tuning

Launch = Callable[[Cancel], tuple[Worker, dict[str, Any]]]
"""Starts a worker and loads the model; returns it with what it says of the model."""
Check = Callable[[Worker, Mapping[str, Any], Cancel], None]
"""Looks at a request before the worker gets it. Raises :class:`EngineError`."""


class WorkerEngine(Closing):
    """An :class:`~outlast.engines.base.Engine` whose model lives in a worker process.

    Where a worker had to be killed to end an answer, the next chat starts a new one. A worker
    that does not say within `prompt_seconds` that the prompt is ready is killed (None: no limit),
    and so is one whose chat template does not end when `check` tries it.
    """

    def __init__(
        self,
        name: str,
        launch: Launch,
        cancel: Cancel,
        *,
        prompt_seconds: float | None = None,
        check: Check | None = None,
        tuning: Tuning = TUNING,
    ) -> None:
        self.name = name
        self._launch = launch
        self._prompt_seconds = prompt_seconds
        self._check = check
        self._packets = 0
        self._tuning = tuning
        self._number = 0
        self._busy: int | None = None
        self._closed = False
        self._sealing: Sealing | None = None
        self._worker: Worker | None
        self._worker, self.facts = launch(cancel)

    @property
    def plain(self) -> bool:
        return bool(self.facts.get("plain"))

    def chat(
        self, messages: Sequence[ChatMessage], sampling: Sampling, cancel: Cancel
    ) -> Iterator[Delta | Usage]:
        """See :meth:`outlast.engines.base.Engine.chat`."""
        if not messages:
            raise UsageError("there is no message to answer")
        if self._closed:
            raise EngineError(f"{self.name} was closed")
        if self._busy is not None:
            # The iterator of the last answer was left without being closed.
            self._end(self._busy)
        if self._worker is None:
            self._worker, self.facts = self._launch(cancel)
        self._number += 1
        wishes = {key: value for key, value in asdict(sampling).items() if value is not None}
        request = {
            "id": self._number,
            "messages": [
                {"role": message.role, "content": _encodable(message.content)}
                for message in messages
            ],
            "sampling": wishes,
        }
        self._busy = self._number
        try:
            if self._check is not None:
                self._check(self._worker, request, cancel)
            self._worker.send(request)
            yield from self._answer(self._worker, self._number, cancel)
        except EndlessTemplateError:
            self._discard()
            raise
        finally:
            if self._busy == request["id"]:
                self._end(self._number)

    @property
    def build(self) -> str:
        return str(self.facts.get("build", self.name))

    @property
    def sealing(self) -> Sealing | None:
        """See :attr:`outlast.engines.base.Engine.sealing`."""
        if self._worker is not None and self._worker.sealed_by:
            packets = self._worker.packets
            self._sealing = Sealing(
                self._worker.sealed_by,
                self._number,
                None if packets is None else self._packets + packets,
            )
        return self._sealing

    def close(self) -> None:
        self._closed = True
        self._discard()

    def _answer(self, worker: Worker, number: int, cancel: Cancel) -> Iterator[Delta | Usage]:
        deadline = None
        if self._prompt_seconds is not None:
            deadline = time.monotonic() + self._prompt_seconds
        while True:
            try:
                event = worker.receive(cancel, deadline)
            except TooSlowError:
                self._discard()
                raise EngineError(
                    f"the prompt was not ready within {self._prompt_seconds:.0f} seconds",
                    hint="the model's chat template may be damaged or hostile",
                ) from None
            if event.get("id") != number:
                continue
            deadline = None
            if "text" in event:
                yield Delta(event["text"], thought=bool(event.get("thought")))
            elif "usage" in event:
                self._busy = None
                yield Usage(**event["usage"])
                return
            elif "error" in event:
                self._busy = None
                raise EngineError(str(event["error"]), hint=str(event.get("hint", "")))

    def _end(self, number: int) -> None:
        """Ends an unfinished answer: by asking, and if that takes too long, by force."""
        self._busy = None
        worker = self._worker
        if worker is None or not worker.alive:
            self._discard()
            return
        deadline = time.monotonic() + self._tuning.stop_seconds
        try:
            worker.send({"stop": number})
            event: dict[str, Any] = {}
            while event.get("id") != number or not {"stopped", "usage", "error"} & event.keys():
                event = worker.receive(Cancel(), deadline)
        except (TooSlowError, EngineError):
            self._discard()

    def _discard(self) -> None:
        _ = self.sealing  # the last look at what it sent
        worker, self._worker = self._worker, None
        self._busy = None
        if worker is not None:
            self._packets += worker.packets or 0
            worker.stop(grace=0)


def _encodable(text: str) -> str:
    """`text` without the lone surrogates that a terminal or a file name can bring in."""
    return text.encode("utf-8", "replace").decode()
