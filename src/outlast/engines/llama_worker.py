"""The worker process of :mod:`outlast.engines.llama`: llama.cpp through xllamacpp.

The configuration's keys are `model` and `hosts` (paths, of which `hosts` are sockets to listen on),
`context`, `threads`, `gpu_layers`, `alias`, `pooling`, `plain`, `parallel` and `adapters` (paths).
"""

import contextlib
import os
import resource
import time
from collections.abc import Mapping
from typing import Any

from outlast.engines.worker import Emit, Json, RefusedError, Stopped, work

EMBEDDING_BATCH = 2048
_POOLING = ("NONE", "MEAN", "CLS", "LAST", "RANK")
# The server keeps prompts of past requests in memory, by default up to 8 GiB of them.
_PROMPT_CACHE_MIB = 512
# What a loaded model may take beside it. A guess: checkpoints of a context take some hundred MiB,
# and a chat template that takes more than the rest is hostile.
_GROWTH = 4 * 1024 * 1024 * 1024


class LlamaRunner:
    """llama.cpp's embedded server, which answers the pipe and its socket alike."""

    def __init__(self, xllamacpp: Any, config: Mapping[str, Any]) -> None:
        params = _params(xllamacpp, config)
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            # The reason is in the log, which the parent reads.
            raise RefusedError(str(error)) from error
        self._plain = bool(config["plain"])
        self._lora = [{"id": 0, "scale": 1.0}] if config["adapters"] else []
        self.facts: Json = {"plain": self._plain}
        _bound_growth()

    def chat(self, request: Mapping[str, Any], emit: Emit, stopped: Stopped) -> Json:
        wishes = {"stream": True, "stream_options": {"include_usage": True}, **request["sampling"]}
        if self._lora:
            wishes["lora"] = self._lora
        answer = _Answer(emit, stopped)
        try:
            if self._plain:
                text = "\n".join(message["content"] for message in request["messages"])
                self._server.handle_completions({**wishes, "prompt": text}, answer.take)
            else:
                wishes["messages"] = request["messages"]
                self._server.handle_chat_completions(wishes, answer.take)
        except (ValueError, RuntimeError) as error:
            raise RefusedError(f"llama.cpp refused the request: {error}") from error
        return answer.finish()


class _Answer:
    """Collects the chunks of one streamed answer."""

    def __init__(self, emit: Emit, stopped: Stopped) -> None:
        self._emit = emit
        self._stopped = stopped
        self._started = time.monotonic()
        self._reason = "stop"
        self._error: Mapping[str, Any] | None = None
        self._last: Mapping[str, Any] = {}

    def take(self, chunk: Mapping[str, Any]) -> bool:
        """Called by the server for every chunk; True ends the answer."""
        if "error" in chunk:
            self._error = chunk["error"]
            return True
        for choice in chunk.get("choices", ()):
            delta = choice.get("delta", {})
            if thought := delta.get("reasoning_content"):
                self._emit({"text": thought, "thought": True})
            if text := delta.get("content") or choice.get("text"):
                self._emit({"text": text})
            self._reason = choice.get("finish_reason") or self._reason
        if "usage" in chunk:
            self._last = chunk
        return self._stopped()

    def finish(self) -> Json:
        if self._error is not None:
            hint = ""
            if self._error.get("type") == "exceed_context_size_error":
                hint = "a larger --context, or a shorter conversation"
            raise RefusedError(str(self._error.get("message")), hint)
        if not self._last.get("usage", {}).get("prompt_tokens"):
            raise RefusedError(
                "the prompt is empty", "the model's chat template may be damaged or hostile"
            )
        usage, timings = self._last.get("usage", {}), self._last.get("timings", {})
        return {
            "usage": {
                "prompt_tokens": int(usage.get("prompt_tokens", 0)),
                "completion_tokens": int(usage.get("completion_tokens", 0)),
                "seconds": time.monotonic() - self._started,
                "tokens_per_second": float(timings.get("predicted_per_second", 0.0)),
                "finish": self._reason,
            }
        }


def _params(xllamacpp: Any, config: Mapping[str, Any]) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = config["model"]
    params.model_alias = {config["alias"]}
    params.hostnames = config["hosts"]
    # Tools are presented by the model's own template, which this runs.
    params.use_jinja = True
    # The parent keeps the log to itself, and tells from it how far loading has come.
    params.verbosity = 3
    params.n_ctx = config["context"]
    if config["threads"] is not None:
        params.cpuparams.n_threads = config["threads"]
        params.cpuparams_batch.n_threads = config["threads"]
    if config["gpu_layers"] is not None:
        params.n_gpu_layers = config["gpu_layers"]
    params.n_parallel = config["parallel"]
    # One pool of context for all requests, so that any of them may use the whole.
    params.kv_unified = True
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    if config["adapters"]:
        _load_adapters(xllamacpp, params, config["adapters"])
    _close_doors(params)
    if config["pooling"] is not None:
        kinds = xllamacpp.llama_pooling_type
        params.embedding = True
        params.pooling_type = getattr(kinds, f"LLAMA_POOLING_TYPE_{_POOLING[config['pooling']]}")
        # A text is embedded in one batch, so this bounds its length in tokens.
        params.n_batch = params.n_ubatch = min(EMBEDDING_BATCH, config["context"] or 1 << 30)
    return params


def _load_adapters(xllamacpp: Any, params: Any, paths: list[str]) -> None:
    """They are loaded, and change nothing until a request asks for one."""
    loaded = []
    for path in paths:
        one = xllamacpp.CommonAdapterLoraInfo(path, 0.0)
        loaded.append(one)
    params.lora_adapters = loaded
    params.lora_init_without_apply = True
    # Its entries do not say with which adapter they were computed.
    params.cache_ram_mib = 0


def _close_doors(params: Any) -> None:
    """Switches off what is not the API of the model: pages, tools, files, other users' prompts."""
    params.offline = True
    params.ui = False
    params.ui_mcp_proxy = False
    params.server_tools = []
    params.endpoint_slots = False
    params.endpoint_props = False
    # The server before it answers browsers.
    params.cors_origins = ""
    params.cors_credentials = False


def load(config: Json) -> LlamaRunner:
    _harden()
    try:
        import xllamacpp  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise RefusedError(
            f"xllamacpp cannot be loaded: {error}", "pip install '.[run]' in a checkout of outlast"
        ) from error
    return LlamaRunner(xllamacpp, config)


def _harden() -> None:
    # ggml would start a debugger on itself to print where it aborted.
    os.putenv("GGML_NO_BACKTRACE", "1")
    # The weights are mapped and do not count. What else needs more than the machine has, such as
    # a hostile chat template, is to fail here, and not to drive the machine out of memory.
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (physical, hard))


def _bound_growth() -> None:
    """Bounds what may be allocated from now on: once a model is loaded, a chat template is what
    could still take all memory.
    """
    with contextlib.suppress(ValueError, OSError):
        with open("/proc/self/statm", encoding="ascii") as file:
            data = int(file.read().split()[5]) * resource.getpagesize()
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = data + _GROWTH + (_PROMPT_CACHE_MIB << 20)
        if soft == resource.RLIM_INFINITY or most < soft:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def main() -> None:
    work(load)
