"""Safetensors folders through transformers and torch, in a worker process.

The process reaches no network, runs no code of the model's but what was allowed, and loads no
pickle. Chat templates
are programs by the publisher of the model; they run there with bounds on time, memory and size.
"""

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError, UsageError
from outlast.engines.conversation import WorkerEngine
from outlast.engines.process import Log, Waits, Worker
from outlast.engines.served import CHAT_SOCKET, ServedModel, Service
from outlast.engines.tuning import TUNING, Tuning

NAME = "transformers"
_PACKAGES = ("torch", "transformers", "safetensors")
_LINK = "model"
_GGUF = "model.gguf"
_CODE = "code"


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """The checked weights of an adapter, and the arguments of PEFT's `LoraConfig` for them."""

    path: str
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A file of a model's code that the operator allowed: the file that has the bytes, and their
    sha256 in hex.
    """

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class TransformersOptions:
    """`device` is torch's name for where to compute (None: the first GPU, else the CPU);
    `threads` of None leaves the choice to torch. `log` receives what the libraries log. `sealed`:
    the engine is kept off all networks, or does not run. `adapters`: LoRAs that are loaded; a chat
    has the first, and a server the one that is asked for. `code`: what the engine may import of the
    model, by path in its folder; `code_hint`: what to do where a model needs code, and none is
    given.
    """

    device: str | None = None
    threads: int | None = None
    log: Log | None = None
    waits: Waits = bool
    sealed: bool = False
    adapters: tuple[AdapterFile, ...] = ()
    code: Mapping[str, CodeFile] = field(default_factory=dict)
    code_hint: str = ""
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
    start = _starter(folder, options, None)
    return WorkerEngine(
        NAME,
        start,
        cancel,
        prompt_seconds=options.tuning.prompt_seconds,
        tuning=options.tuning,
    )


def serve_transformers(
    folder: str, service: Service, options: TransformersOptions, cancel: Cancel
) -> ServedModel:
    """Loads `folder` as :func:`open_transformers` does and serves it on a private socket; returns
    once the model is ready. It makes one answer at a time. Raises what that raises, and
    :class:`EngineError` where embeddings are asked for.
    """
    if service.embeddings:
        raise EngineError(
            "transformers serves no embeddings here", hint="a GGUF model for embeddings does"
        )
    place = {"socket": CHAT_SOCKET, "alias": service.model_alias}
    worker, facts = _starter(folder, options, place)(cancel)
    return ServedModel(
        worker, tools=False, embeddings=False, build=str(facts["build"]), tuning=options.tuning
    )


def _starter(
    folder: str, options: TransformersOptions, place: Mapping[str, str] | None
) -> Callable[[Cancel], tuple[Worker, dict[str, Any]]]:
    """What starts a worker that has the model; with `place`, it serves HTTP there."""
    config, links = worker_config(folder, options, place)

    def launch(cancel: Cancel) -> tuple[Worker, dict[str, Any]]:
        worker = Worker(
            "outlast.engines.transformers_worker",
            NAME,
            options.log,
            options.tuning,
            sealed=options.sealed,
        )
        return worker, worker.start(config, cancel, links, waits=options.waits)

    return launch


def worker_config(
    folder: str, options: TransformersOptions, place: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """The configuration of a worker for the model in `folder`, and the files that it is to find;
    with `place`, it serves HTTP there. Raises :class:`EngineError`.
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
        "adapters": [],
        "code": {},
        "code_hint": options.code_hint,
        "serve": place,
    }
    for number, (path, one) in enumerate(sorted(options.code.items())):
        links[f"{_CODE}-{number}"] = one.path
        config["code"][path] = {"file": f"{_CODE}-{number}", "sha256": one.sha256}
    for number, adapter in enumerate(options.adapters):
        file = f"adapter-{number}.safetensors"
        links[file] = adapter.path
        config["adapters"].append({"file": file, "config": dict(adapter.config)})
    return config, links


def _require_packages(options: TransformersOptions, *, dequantised: bool) -> None:
    """Raises :class:`EngineError` where packages are missing that the worker needs."""
    more = [("peft", bool(options.adapters)), ("gguf", dequantised)]
    wanted = [*_PACKAGES, *(name for name, needed in more if needed)]
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        what = "adapters" if options.adapters else "safetensors models"
        extra = "tune" if options.adapters else "transformers"
        raise EngineError(
            f"{what} need packages that are not installed: {', '.join(missing)}",
            hint=f"pip install '.[{extra}]' in a checkout of outlast",
        )
