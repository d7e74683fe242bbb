"""Safetensors folders through transformers and torch, in a worker process.

The process reaches no network, runs no code of the model's, and loads no pickle. Chat templates
are programs by the publisher of the model; they run there with bounds on time, memory and size.
"""

import importlib.util
import os
from dataclasses import dataclass
from typing import Any

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError, UsageError
from outlast.engines.conversation import WorkerEngine
from outlast.engines.process import Log, Waits, Worker
from outlast.engines.tuning import TUNING, Tuning

NAME = "transformers"
_PACKAGES = ("torch", "transformers", "safetensors")
_LINK = "model"


@dataclass(frozen=True, slots=True)
class TransformersOptions:
    """`device` is torch's name for where to compute (None: the first GPU, else the CPU);
    `threads` of None leaves the choice to torch. `log` receives what the libraries log. `sealed`:
    the engine is kept off all networks, or does not run.
    """

    device: str | None = None
    threads: int | None = None
    log: Log | None = None
    waits: Waits = bool
    sealed: bool = False
    tuning: Tuning = TUNING

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"threads cannot be {self.threads}")


def open_transformers(folder: str, options: TransformersOptions, cancel: Cancel) -> WorkerEngine:
    """Loads the model in `folder` (config.json, safetensors, tokenizer), ready to chat. Where the
    tokenizer has no chat template, a chat is a plain completion.

    Raises :class:`EngineError` when the extra is missing or transformers cannot load the model,
    and :class:`Cancelled`.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise EngineError(
            f"safetensors models need packages that are not installed: {', '.join(missing)}",
            hint="pip install '.[transformers]' in a checkout of outlast",
        )
    if not os.path.isfile(os.path.join(folder, "config.json")):
        raise EngineError(f"{folder} has no config.json, so it is not a model for transformers")
    config = {"model": _LINK, "device": options.device, "threads": options.threads}

    def launch(cancel: Cancel) -> tuple[Worker, dict[str, Any]]:
        worker = Worker(
            "outlast.engines.transformers_worker",
            NAME,
            options.log,
            options.tuning,
            sealed=options.sealed,
        )
        return worker, worker.start(config, cancel, {_LINK: folder}, waits=options.waits)

    return WorkerEngine(
        NAME,
        launch,
        cancel,
        prompt_seconds=options.tuning.prompt_seconds,
        tuning=options.tuning,
    )
