"""The outside of a tuning's worker process: what it is asked, and what it answers."""

import contextlib
import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.errors import Cancelled, DiskFullError, EngineError
from outlast.core.events import TrainingStep
from outlast.engines.process import Log, TooSlowError, Worker
from outlast.features.tune.tuning import TUNING

NAME: Final = "tuning"
INSTALL: Final = "pip install '.[tune]' in a checkout of outlast"
_PACKAGES: Final = ("torch", "transformers", "peft", "safetensors")
_DISK_FULL: Final = "disk-full"


def require_packages(*more: str) -> None:
    """Raises :class:`EngineError` where the extra is missing; `more` names further packages."""
    lacking = [n for n in (*_PACKAGES, *more) if importlib.util.find_spec(n) is None]
    if lacking:
        raise EngineError(
            f"tuning needs packages that are not installed: {', '.join(lacking)}", hint=INSTALL
        )


class WorkSession:
    """A worker that has described its base: `facts` is what it says of it. A context manager."""

    def __init__(
        self,
        config: Mapping[str, Any],
        links: Mapping[str, Path],
        control: Control,
        *,
        module: str = "outlast.features.tune.work.main",
        log: Log | None = None,
        loading: Callable[[float], object] = bool,
    ) -> None:
        self._control = control
        self._number = 0
        self._loading = loading
        self._worker = Worker(module, NAME, log)
        self.facts = self._worker.start(
            config,
            control.cancel,
            {name: str(path) for name, path in links.items()},
            waits=loading,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._worker.stop(grace=0)

    def read(self) -> dict[str, Any]:
        """The rows as tokens, and an estimate. Raises :class:`EngineError` where the chat template
        does not end.
        """
        return self._ask("read", TUNING.row_seconds)

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Does one part of the work; takes as long as it takes. Once the control is cancelled, the
        worker is given time to write a checkpoint; raises :class:`Cancelled` then.
        """
        try:
            return self._ask(do, None, **more)
        except Cancelled:
            self._stop()
            raise

    def _ask(self, do: str, patience: float | None, **more: Any) -> dict[str, Any]:
        self._number += 1
        self._worker.send({"id": self._number, "do": do, **more})
        began = time.monotonic()
        while True:
            try:
                event = self._worker.receive(
                    self._control.cancel, None if patience is None else time.monotonic() + patience
                )
            except TooSlowError:
                raise EngineError(
                    f"a row was not ready within {patience:.0f} seconds",
                    hint="the model's chat template may be damaged or hostile",
                ) from None
            if event.get("id") != self._number:
                continue
            if "error" in event:
                raise _error(event)
            if "done" in event:
                return event
            self._tell(event, time.monotonic() - began)

    def _tell(self, event: Mapping[str, Any], seconds: float) -> None:
        if "step" in event:
            step = TrainingStep(event["step"], event["of"], event["loss"], event["left"])
            self._control.emit(step)
        elif "loading" in event:
            self._loading(seconds)

    def _stop(self) -> None:
        deadline = time.monotonic() + TUNING.stop_seconds
        with contextlib.suppress(TooSlowError, EngineError):
            self._worker.send({"stop": self._number})
            event: dict[str, Any] = {}
            while not (
                event.get("id") == self._number and {"stopped", "done", "error"} & event.keys()
            ):
                event = self._worker.receive(Cancel(), deadline)


def _error(event: Mapping[str, Any]) -> EngineError | DiskFullError:
    said, hint = str(event["error"]), str(event.get("hint", ""))
    if hint == _DISK_FULL:
        return DiskFullError(said)
    return EngineError(said, hint=hint)
