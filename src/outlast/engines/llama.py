"""GGUF models through llama.cpp, in a worker process.

llama.cpp ends its process with abort() on some damaged files (a block count of zero is enough) and
holds Python's lock while it loads. So it gets a process of its own, both for a chat at the terminal
and for the OpenAI-compatible API (`server.model` puts that on a port); whatever happens there ends
in an :class:`EngineError` here.
"""

import importlib.metadata
import importlib.util
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError, UsageError
from outlast.engines.conversation import WorkerEngine
from outlast.engines.gguf import GgufHeader, read_header
from outlast.engines.local_http import AskBounds, NoAnswerError, TooLongError, ask
from outlast.engines.process import Log, TooSlowError, Waits, Worker
from outlast.engines.served import CHAT_SOCKET, ServedModel, Service
from outlast.engines.template_check import check_template
from outlast.engines.tuning import TUNING, Tuning

NAME = "llama.cpp"
DEFAULT_CONTEXT = 8192
_NO_POOLING = 0
_MEAN_POOLING = 1
_PROPS = "/props"
_BUILD_LENGTH = 100
_PROPS_BYTES = 4 * 1024 * 1024
_SHARD_NAME = re.compile(r"^(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})(?P<end>\.gguf)$", re.IGNORECASE)
_LOG_PREFIX = re.compile(r"^[\d.]+ [A-Z] |^E ")


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """`context` is in tokens (None: what the model was trained for, at most
    :data:`DEFAULT_CONTEXT`; 0: all that it was trained for). `threads` and `gpu_layers` of None
    leave the choice to llama.cpp. `log` receives llama.cpp's own log, which else goes nowhere.
    `sealed`: the engine is kept off all networks, or does not run. `adapters`: GGUF files of LoRAs
    that are loaded beside the model; a chat has the first, and a server the one that is asked for.
    """

    context: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    log: Log | None = None
    waits: Waits = bool
    sealed: bool = False
    adapters: tuple[str, ...] = ()
    tuning: Tuning = TUNING

    def __post_init__(self) -> None:
        for name in ("context", "threads", "gpu_layers"):
            value = getattr(self, name)
            if value is not None and not (name == "threads") <= value < 2**31:
                raise UsageError(f"{name.replace('_', '-')} cannot be {value}")


def open_llama(files: Sequence[str], options: LlamaOptions, cancel: Cancel) -> WorkerEngine:
    """Loads the GGUF model in `files` (paths under any name; all shards in order, or the first
    one with the others beside it under their own names), ready to chat.

    Raises :class:`EngineError` when xllamacpp is missing, a file is no intact GGUF model or
    llama.cpp cannot load it, and :class:`Cancelled`.
    """
    model = _Model.check(files)

    def launch(cancel: Cancel) -> tuple[Worker, dict[str, Any]]:
        config = _config(model, options) | {
            "hosts": [CHAT_SOCKET],
            "alias": "model",
            "plain": not model.header.template,
        }
        worker, facts = _launch(model, config, options, cancel)
        try:
            return worker, facts | {"build": _build(_props(worker, options.tuning, cancel))}
        except BaseException:
            worker.stop(grace=0)
            raise

    def check(worker: Worker, request: Mapping[str, Any], cancel: Cancel) -> None:
        body = {"messages": request["messages"]}
        check_template(worker.socket_path(CHAT_SOCKET), body, options.tuning, cancel)

    return WorkerEngine(
        NAME,
        launch,
        cancel,
        check=check if model.header.template else None,
        tuning=options.tuning,
    )


def serve(
    files: Sequence[str], service: Service, options: LlamaOptions, cancel: Cancel
) -> ServedModel:
    """Loads `files` as :func:`open_llama` does and serves them on a private socket; returns once
    the model is ready. Raises what that raises.
    """
    model = _Model.check(files)
    pooling = model.header.pooling or None
    if service.embeddings is not None:
        pooling = (pooling or _MEAN_POOLING) if service.embeddings else None
    if service.states:
        pooling = _NO_POOLING
    config = _config(model, options) | {
        "hosts": [CHAT_SOCKET],
        "alias": service.model_alias,
        "pooling": pooling,
        "parallel": options.tuning.served_at_once,
    }
    worker, _ = _launch(model, config, options, cancel)
    try:
        facts = _props(worker, options.tuning, cancel)
    except BaseException:
        worker.stop(grace=0)
        raise
    caps = facts.get("chat_template_caps")
    return ServedModel(
        worker,
        tools=isinstance(caps, dict) and bool(caps.get("supports_tools")),
        embeddings=pooling is not None,
        build=_build(facts),
        tuning=options.tuning,
    )


def _props(worker: Worker, tuning: Tuning, cancel: Cancel) -> Mapping[str, Any]:
    """What the server says of what it has loaded. It has tried the chat template by now."""
    bounds = AskBounds(
        time.monotonic() + tuning.template_seconds, _PROPS_BYTES, tuning.poll_seconds
    )
    try:
        _, facts = ask(worker.socket_path(CHAT_SOCKET), _PROPS, None, bounds, cancel)
    except (NoAnswerError, TooLongError):
        raise EngineError("llama.cpp does not say what it has loaded") from None
    return facts if isinstance(facts, dict) else {}


def _build(facts: Mapping[str, Any]) -> str:
    """The package that brings the engine, and the build that it says of itself."""
    said = facts.get("build_info")
    built = f" ({said[:_BUILD_LENGTH]})" if isinstance(said, str) and said.isprintable() else ""
    return f"xllamacpp {importlib.metadata.version('xllamacpp')}{built}"


@dataclass(frozen=True, slots=True)
class _Model:
    """The checked files of one model, shards in order."""

    paths: tuple[str, ...]
    header: GgufHeader

    @classmethod
    def check(cls, files: Sequence[str]) -> Self:
        if importlib.util.find_spec("xllamacpp") is None:
            raise EngineError(
                "GGUF models need llama.cpp, which is not installed",
                hint="pip install '.[run]' in a checkout of outlast",
            )
        if not files:
            raise UsageError("no file to run")
        first = read_header(files[0])
        if first.architecture == "clip":
            raise EngineError(
                f"{files[0]} is a projector for images or sound, not a model by itself",
                hint="choose the model's own file with --file",
            )
        if first.shard != 0:
            raise EngineError(
                f"{files[0]} is part {first.shard + 1} of {first.shards} of a split model",
                hint="name its first part",
            )
        paths = tuple(files) if len(files) > 1 else _siblings(files[0], first.shards)
        if len(paths) != first.shards:
            raise EngineError(f"{files[0]} has {first.shards} parts, and {len(paths)} were given")
        for number, path in enumerate(paths[1:], start=1):
            if read_header(path).shard != number:
                raise EngineError(f"{path} is not part {number + 1} of {files[0]}")
        return cls(paths, first)

    @property
    def link_names(self) -> tuple[str, ...]:
        """What the worker knows the files by: llama.cpp finds shards by name."""
        count = len(self.paths)
        if count == 1:
            return ("model.gguf",)
        return tuple(f"model-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1))


def _siblings(first: str, count: int) -> tuple[str, ...]:
    if count == 1:
        return (first,)
    folder, name = os.path.split(first)
    match = _SHARD_NAME.match(name)
    if match is None or int(match["count"]) != count:
        raise EngineError(f"{first} is split in {count} parts, and its name does not tell theirs")
    names = [f"{match['stem']}-{i:05}-of-{count:05}{match['end']}" for i in range(1, count + 1)]
    return tuple(os.path.join(folder, name) for name in names)


def _config(model: _Model, options: LlamaOptions) -> dict[str, Any]:
    context = options.context
    if context is None:
        context = min(model.header.context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
    return {
        "model": model.link_names[0],
        "context": context,
        "threads": options.threads,
        "gpu_layers": options.gpu_layers,
        "pooling": None,
        "plain": False,
        "parallel": 1,
        "adapters": list(_adapter_links(options)),
    }


def _adapter_links(options: LlamaOptions) -> dict[str, str]:
    """What the worker knows the adapters by, in their order."""
    return {f"adapter-{number}.gguf": path for number, path in enumerate(options.adapters)}


def _check_adapters(model: _Model, options: LlamaOptions) -> None:
    for path in options.adapters:
        header = read_header(path)
        if not header.is_adapter:
            raise EngineError(f"{path} is no LoRA in GGUF")
        if header.architecture != model.header.architecture:
            raise EngineError(
                f"an adapter for {header.architecture!r:.60} does not fit a model of "
                f"{model.header.architecture!r:.60}"
            )


def _launch(
    model: _Model, config: dict[str, Any], options: LlamaOptions, cancel: Cancel
) -> tuple[Worker, dict[str, Any]]:
    _check_adapters(model, options)
    watch = _LoadWatch(options.log, options.tuning.template_seconds)
    worker = Worker(
        "outlast.engines.llama_worker", NAME, watch.see, options.tuning, sealed=options.sealed
    )
    links = dict(zip(model.link_names, model.paths, strict=True)) | _adapter_links(options)
    try:
        return worker, worker.start(config, cancel, links, lambda: watch.limit, options.waits)
    except TooSlowError:
        raise EngineError(
            f"the chat template of {model.paths[0]} did not finish "
            f"in {options.tuning.template_seconds:.0f} seconds",
            hint="it may be damaged or hostile",
        ) from None
    except EngineError as error:
        raise _explained(error, worker, model) from error


class _LoadWatch:
    """Follows the log while a model loads. Weights may take as long as they take; but then
    llama.cpp tries the chat template, a program by the publisher of the file.
    """

    def __init__(self, log: Log | None, template_seconds: float) -> None:
        self._log = log
        self._template_seconds = template_seconds
        self.limit: float | None = None

    def see(self, line: str) -> None:
        if self.limit is None and "load_model: initializing" in line:
            self.limit = time.monotonic() + self._template_seconds
        if self._log is not None:
            self._log(line)


def _explained(error: EngineError, worker: Worker, model: _Model) -> EngineError:
    """The reason from llama.cpp's log, where its exception does not tell."""
    lines = [_LOG_PREFIX.sub("", line) for line in worker.log]
    path = model.paths[0]
    for line in lines:
        if "lora" in line and ("failed" in line or "mismatch" in line or "does not exist" in line):
            return EngineError(
                f"llama.cpp cannot load the adapter: {line[:200]}",
                hint="it may be for another model",
            )
        if "unknown model architecture" in line:
            name = model.header.architecture
            return EngineError(
                f"this llama.cpp does not know the architecture {name!r} of {path}",
                hint="a newer one may: pip install -U xllamacpp",
            )
        if "chat template parsing error: " in line or "chat_templates_init: error: " in line:
            why = line.partition("error: ")[2]
            return EngineError(f"llama.cpp cannot use the chat template of {path}: {why}")
        _, found, reason = line.partition("error loading model: ")
        if found:
            return EngineError(
                f"llama.cpp cannot load {path}: {reason}",
                hint="'outlast verify' tells whether the archive's copy is damaged",
            )
    return error
