"""The worker process of :mod:`outlast.engines.transformers`.

The configuration's keys are `model` (a folder, or a GGUF file), `device`, `threads`, `adapters` (of
each its `file` and the `config` of its LoRA), `code` (by path in the model, the `file` and its
`sha256`), `code_hint` and `serve` (null, or the `socket` to answer HTTP on and the `alias` of the
model). Before anything is loaded, an audit hook closes what a model has no business with: the
network, and pickle.
"""

import contextlib
import importlib
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from outlast.engines.code_folder import folder_with_code
from outlast.engines.transformers_http import bind
from outlast.engines.worker import Emit, Json, RefusedError, Stopped, work

MAX_PROMPT_CHARACTERS = 4 * 1024 * 1024
_TEMPLATE_MEMORY = 1024 * 1024 * 1024
_DEFAULT_CONTEXT = 4096
_FORBIDDEN = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "pickle.find")
_WITH_CODE = "model_with_code"
_RENDERING = threading.Lock()
"""One template at a time: its bound on memory holds for the whole process."""
_SUSPECT = "the model's chat template may be damaged or hostile"


class PromptTooLongError(RefusedError):
    """A prompt of `tokens` tokens, where the context has room for `context`."""

    def __init__(self, tokens: int, context: int) -> None:
        super().__init__(
            f"the conversation has {tokens} tokens, and the model holds {context}",
            "a shorter conversation",
        )
        self.tokens, self.context = tokens, context


class TransformersRunner:
    """A causal language model and its tokenizer, with LoRAs of which a request uses one or none."""

    def __init__(self, torch: Any, transformers: Any, config: Mapping[str, Any]) -> None:
        self._torch = torch
        self._transformers = transformers
        model, code = config["model"], config.get("code") or {}
        # Only files that were allowed, and hashed in this process, are there to be imported.
        here: Json = {"local_files_only": True, "trust_remote_code": bool(code)}
        if code:
            model = folder_with_code(model, code, _WITH_CODE)
        if model.endswith(".gguf"):
            here["gguf_file"], model = model, os.curdir
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(model, **here)
        self._model = transformers.AutoModelForCausalLM.from_pretrained(
            model, use_safetensors=True, dtype="auto", **here
        )
        self._adapters = len(config.get("adapters", ()))
        if self._adapters:
            self._model = adapted(self._model, config["adapters"])
        self._used: int | None = 0
        device = config["device"] or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(device).eval()
        text = self._model.config.get_text_config()
        self._context = int(getattr(text, "max_position_embeddings", None) or _DEFAULT_CONTEXT)
        self._plain = not self._tokenizer.chat_template
        self.facts: Json = {
            "plain": self._plain,
            "context": self._context,
            "device": device,
            "adapters": self._adapters,
            "build": f"transformers {transformers.__version__} (torch {torch.__version__})",
        }

    def chat(self, request: Mapping[str, Any], emit: Emit, stopped: Stopped) -> Json:
        inputs = self._prompt(request["messages"])
        emit({"prompt": True})
        return self.generate(inputs, request["sampling"], emit, stopped)

    def generate(
        self,
        inputs: Any,
        sampling: Mapping[str, Any],
        emit: Emit,
        stopped: Stopped,
        adapter: int | None = 0,
    ) -> Json:
        """Goes on from `inputs`, with the adapter of that number (None: with the base alone). One
        call at a time.
        """
        started = time.monotonic()
        self._use(adapter)
        length = int(inputs["input_ids"].shape[1])
        room = self._context - length
        if room <= 0:
            raise PromptTooLongError(length, self._context)
        if "seed" in sampling:
            self._transformers.set_seed(sampling["seed"])
        limit = min(room, sampling.get("max_tokens", room))
        streamer = _streamer(self._transformers, self._tokenizer, emit)
        with self._torch.inference_mode():
            output = self._model.generate(
                **inputs,
                **_generation(sampling),
                max_new_tokens=limit,
                streamer=streamer,
                stopping_criteria=[lambda ids, _scores: _verdict(self._torch, ids, stopped())],
            )
        ended = time.monotonic()
        made = int(output.shape[1]) - length
        return {
            "usage": {
                "prompt_tokens": length,
                "completion_tokens": made,
                "seconds": ended - started,
                "tokens_per_second": streamer.rate(ended),
                "finish": "length" if made >= limit else "stop",
            }
        }

    def _use(self, adapter: int | None) -> None:
        """From now on the model computes with this adapter."""
        if not self._adapters or adapter == self._used:
            return
        if adapter is None:
            self._model.base_model.disable_adapter_layers()
        else:
            self._model.base_model.enable_adapter_layers()
            self._model.set_adapter(adapter_name(adapter))
        self._used = adapter

    def _prompt(self, messages: list[dict[str, str]]) -> Any:
        return self.inputs(self.render(messages), special=self._plain)

    def inputs(self, text: str, *, special: bool) -> Any:
        """A prompt as tokens; `special`: with those that the tokenizer puts before a text."""
        if len(text) > MAX_PROMPT_CHARACTERS:
            raise RefusedError(
                f"the prompt exceeds {MAX_PROMPT_CHARACTERS} characters",
                _SUSPECT if not self._plain else "a shorter conversation",
            )
        # A chat template writes the special tokens itself.
        inputs = self._tokenizer(text, return_tensors="pt", add_special_tokens=special)
        wanted = {key: inputs[key] for key in ("input_ids", "attention_mask")}
        if wanted["input_ids"].shape[1] == 0:
            raise RefusedError("the prompt is empty", "" if self._plain else _SUSPECT)
        return {key: value.to(self._model.device) for key, value in wanted.items()}

    def render(self, messages: list[dict[str, str]], *, going_on: bool = False) -> str:
        """A conversation as the text of a prompt; `going_on`: its last message goes on."""
        if self._plain:
            return "\n".join(message["content"] for message in messages)
        template_error: type[Exception] = importlib.import_module("jinja2").TemplateError
        more: Json = {"continue_final_message": True} if going_on else {}
        try:
            with _RENDERING, little_memory():
                text: str = self._tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=not going_on, **more
                )
        except MemoryError:
            raise RefusedError("the chat template needs too much memory", _SUSPECT) from None
        except (template_error, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise RefusedError(f"the chat template failed: {error}", _SUSPECT) from error
        return text


def adapter_name(number: int) -> str:
    """What PEFT calls the adapter of this number."""
    return "default" if number == 0 else f"adapter{number}"


def adapted(model: Any, adapters: Sequence[Mapping[str, Any]]) -> Any:
    """The model with LoRAs, of which it computes with the first: `file` has the tensors of one,
    `config` is for PEFT. Raises :class:`RefusedError` where the model lacks a layer that one
    changes.
    """
    peft = importlib.import_module("peft")
    load_file = importlib.import_module("safetensors.torch").load_file
    layers = {name for name, _ in model.named_modules()}
    for number, adapter in enumerate(adapters):
        if lacking := set(adapter["config"]["target_modules"]) - layers:
            raise RefusedError(
                f"the base has no layer {min(lacking)!r:.100}: the adapter is of another model"
            )
        name, config = adapter_name(number), peft.LoraConfig(**adapter["config"])
        if number == 0:
            model = peft.get_peft_model(model, config, adapter_name=name)
        else:
            model.add_adapter(name, config)
        found = peft.set_peft_model_state_dict(model, load_file(adapter["file"]), adapter_name=name)
        if found.unexpected_keys:
            raise RefusedError("the adapter has tensors that the base has no place for")
    return model


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """Bounds what may be allocated within; only where the system tells how much there is now."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + _TEMPLATE_MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _generation(sampling: Mapping[str, Any]) -> Json:
    """`sampling` in the words of `generate`; what is absent stays as the model recommends."""
    wishes = {key: sampling[key] for key in ("top_p", "top_k", "min_p") if key in sampling}
    if "temperature" in sampling:
        if sampling["temperature"] == 0:
            return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        wishes |= {"do_sample": True, "temperature": float(sampling["temperature"])}
    elif wishes:
        wishes["do_sample"] = True
    return wishes


def _verdict(torch: Any, ids: Any, stop: bool) -> Any:
    return torch.full((ids.shape[0],), stop, dtype=torch.bool, device=ids.device)


def _streamer(transformers: Any, tokenizer: Any, emit: Emit) -> Any:
    class Streamer(transformers.TextStreamer):  # type: ignore[misc]
        """Emits text as it becomes final, and times the tokens after the first."""

        def __init__(self) -> None:
            super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
            self._tokens = 0
            self._first = 0.0

        def put(self, value: Any) -> None:
            if not self.next_tokens_are_prompt:
                self._tokens += 1
                self._first = self._first or time.monotonic()
            super().put(value)

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            del stream_end
            if text:
                emit({"text": text})

        def rate(self, ended: float) -> float:
            """Tokens per second, without the first: that one has the prompt's time in it."""
            seconds = ended - self._first
            return (self._tokens - 1) / seconds if self._tokens > 1 and seconds > 0 else 0.0

    return Streamer()


def close_doors() -> None:
    """Keeps this process off the network and from loading pickle, for good."""
    # huggingface_hub and transformers read these when they are imported.
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HOME=os.getcwd())
    os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_PROGRESS_BARS="1")
    os.environ["HF_MODULES_CACHE"] = os.path.join(os.getcwd(), "modules")

    def audit(event: str, _arguments: Any) -> None:
        if event.startswith(_FORBIDDEN):
            raise PermissionError(f"a model may not use {event}")

    sys.addaudithook(audit)


R = TypeVar("R", bound=TransformersRunner)


def load(config: Json) -> TransformersRunner:
    place = config.get("serve")
    # The socket has its place in the file system before the hook.
    server = None if place is None else bind(place["socket"])
    runner = load_with(TransformersRunner, config)
    if server is not None and place is not None:
        server.answer(runner, place["alias"])
    return runner


def load_with(runner: Callable[[Any, Any, Json], R], config: Json) -> R:
    """Closes the doors, and loads the model into a `runner`. Raises :class:`RefusedError`."""
    close_doors()
    try:
        import torch  # noqa: PLC0415 - an optional extra
        import transformers  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise RefusedError(
            f"transformers cannot be loaded: {error}",
            "pip install '.[transformers]' in a checkout of outlast",
        ) from error
    if config["threads"] is not None:
        torch.set_num_threads(config["threads"])
    try:
        return runner(torch, transformers, config)
    except RefusedError:
        raise
    except Exception as error:
        # The libraries raise whatever they like; the whole of it goes to the log.
        traceback.print_exc()
        raise _refused(error, str(config.get("code_hint") or "")) from error


def _refused(error: Exception, hint: str) -> RefusedError:
    text = str(error).strip() or type(error).__name__
    if "trust_remote_code" in text or "custom code" in text:
        return RefusedError(
            "the model needs Python code of its own, which was not allowed",
            hint or "look for a GGUF version of it, or one in a format that transformers knows",
        )
    return RefusedError(f"transformers cannot load the model: {text.splitlines()[0]}")


def main() -> None:
    work(load)
