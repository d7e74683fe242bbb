"""Safetensors folders through transformers and torch, in a worker process.

The process reaches no network, runs no code of the model's, and loads no pickle. Chat templates
are programs by the publisher of the model; they run there with bounds on time, memory and size.
"""

import importlib.util
import os
from collections.abc import Mapping
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
_GGUF = "model.gguf"
_ADAPTER = "adapter.safetensors"


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """The checked weights of an adapter, and the arguments of PEFT's `LoraConfig` for them."""

    path: str
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TransformersOptions:
    """`device` is torch's name for where to compute (None: the first GPU, else the CPU);
    `threads` of None leaves the choice to torch. `log` receives what the libraries log. `sealed`:
    the engine is kept off all networks, or does not run. `adapter`: a LoRA to answer with.
    """

    device: str | None = None
    threads: int | None = None
    log: Log | None = None
    waits: Waits = bool
    sealed: bool = False
    adapter: AdapterFile | None = None
    tuning: Tuning = TUNING

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"threads cannot be {self.threads}")


def open_transformers(folder: str, options: TransformersOptions, cancel: Cancel) -> WorkerEngine:
    """Loads the model in `folder` (config.json, safetensors, tokenizer), ready to chat. Where the
    tokenizer has no chat template, a chat is a plain completion. `folder` may be a GGUF file: it is
    dequantised, as an adapter wants that was trained on it so.

    Raises :class:`EngineError` when the extra is missing or transformers cannot load the model,
    and :class:`Cancelled`.
    """
    config, links = worker_config(folder, options)

    def launch(cancel: Cancel) -> tuple[Worker, dict[str, Any]]:
        worker = Worker(
            "outlast.engines.transformers_worker",
            NAME,
            options.log,
            options.tuning,
            sealed=options.sealed,
        )
        return worker, worker.start(config, cancel, links, waits=options.waits)

    return WorkerEngine(
        NAME,
        launch,
        cancel,
        prompt_seconds=options.tuning.prompt_seconds,
        tuning=options.tuning,
    )


def worker_config(
    folder: str, options: TransformersOptions
) -> tuple[dict[str, Any], dict[str, str]]:
    """The configuration of a worker for the model in `folder`, and the files that it is to find.
    Raises :class:`EngineError`.
    """
    dequantised = os.path.isfile(folder)
    _require_packages(options, dequantised=dequantised)
    if not dequantised and not os.path.isfile(os.path.join(folder, "config.json")):
        raise EngineError(f"{folder} has no config.json, so it is not a model for transformers")
    name = _GGUF if dequantised else _LINK
    links = {name: folder}
    config: dict[str, Any] = {
        "model": name,
        "device": options.device,
        "threads": options.threads,
        "adapter": None,
    }
    if options.adapter is not None:
        links[_ADAPTER] = options.adapter.path
        config["adapter"] = {"file": _ADAPTER, "config": dict(options.adapter.config)}
    return config, links


def _require_packages(options: TransformersOptions, *, dequantised: bool) -> None:
    """Raises :class:`EngineError` where packages are missing that the worker needs."""
    more = [("peft", options.adapter is not None), ("gguf", dequantised)]
    wanted = [*_PACKAGES, *(name for name, needed in more if needed)]
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        what = "adapters" if options.adapter is not None else "safetensors models"
        extra = "tune" if options.adapter is not None else "transformers"
        raise EngineError(
            f"{what} need packages that are not installed: {', '.join(missing)}",
            hint=f"pip install '.[{extra}]' in a checkout of outlast",
        )
