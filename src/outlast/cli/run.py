"""``outlast run``."""

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import click

from outlast.cli.edge import TARGET, Session, budget_option, common, host_and_port, session
from outlast.cli.screen.render import human_size, print_json
from outlast.core.errors import BadConfigError, Cancelled, EngineError, OutlastError, UsageError
from outlast.core.names import Target
from outlast.engines.base import ChatMessage, Delta, Engine, Sampling, Usage
from outlast.engines.choose import LLAMA, TRANSFORMERS
from outlast.engines.llama import LlamaOptions, Service, open_llama, serve
from outlast.engines.transformers import TransformersOptions, open_transformers
from outlast.ops import run as ops

_API_PORT = 8080
_KEY_LIMIT = 1000


def _sampling_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--system", metavar="TEXT", help="System prompt"),
        click.option("--max-tokens", type=int, help="Most tokens of an answer"),
        click.option(
            "--temperature", type=float, help="Randomness; 0 always takes the likeliest token"
        ),
        click.option(
            "--top-p",
            type=float,
            help="Sample from the likeliest tokens with this total probability",
        ),
        click.option("--seed", type=int, help="The same seed gives the same answer"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option(
            "--file", "wanted", metavar="GLOB", help="Choose the file, if the model has several"
        ),
        click.option(
            "--engine",
            type=click.Choice([LLAMA, TRANSFORMERS]),
            help="Use this engine  [default: by file type]",
        ),
        click.option("--context", type=int, help="Size of the context, in tokens"),
        click.option("--threads", type=int, help="CPU threads"),
        click.option("--gpu-layers", type=int, help="Layers to put on the GPU"),
        budget_option,
        click.option(
            "--recheck", is_flag=True, help="Re-hash the files, even if they did not change"
        ),
        click.option("--verbose", is_flag=True, help="Show the engine's own log on stderr"),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  outlast run Qwen/Qwen3-0.6B-GGUF "Why is the sky blue?"
  outlast run Qwen/Qwen3-0.6B-GGUF                    chat; Ctrl-D ends it
  git diff | outlast run me/model "Describe this change:" -
  outlast run me/model --api 127.0.0.1:8080           OpenAI-compatible API

\b
Exit status:
  0 done · 2 usage · 3 not archived · 4 damage found · 8 storage · 9 engine · 130 interrupted
"""
)
@click.argument("target", type=TARGET)
@click.argument("prompt", nargs=-1)
@click.option("--api", metavar="HOST:PORT", help="Serve an OpenAI-compatible API instead of a chat")
@click.option("--api-key-file", type=click.File("r"), help="Require the API key in this file")
@_sampling_options
@_engine_options
@common
def run(
    target: Target,
    *,
    prompt: tuple[str, ...],
    api: str | None,
    api_key_file: Any,
    system: str | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Chat with TARGET, answer PROMPT, or serve TARGET as an API.

    GGUF files run with llama.cpp; safetensors models need the 'transformers' extra. The files are
    checked against their digests first. A '-' in PROMPT is replaced by what stdin contains.
    """
    if api is not None and prompt:
        raise UsageError("--api takes no PROMPT")
    names = ("max_tokens", "temperature", "top_p", "seed")
    sampling = Sampling(**{name: options.pop(name) for name in names})
    with session(home, as_json=as_json, quiet=quiet) as call, call.archive() as archive:
        budget = options["budget"]
        with ops.prepare(
            archive,
            target,
            wanted=options["wanted"],
            engine=options["engine"],
            recheck=options["recheck"],
            budget=call.config.working_copies if budget is None else budget,
            control=call.control,
        ) as prepared:
            choice = prepared.choice
            call.say(f"{choice.why} ({human_size(choice.size)}, {choice.engine})")
            if api is not None:
                host, port = host_and_port(api, _API_PORT)
                service = Service(host, port, str(target.repo), _key(api_key_file))
                _serve(call, prepared, service, _llama_options(options))
                return
            with _open(call, prepared, options) as engine:
                chat = _Chat(call, engine, sampling, system)
                if prompt or not sys.stdin.isatty():
                    chat.once(" ".join(_with_stdin(prompt or ("-",))))
                else:
                    chat.loop()


def _with_stdin(words: tuple[str, ...]) -> list[str]:
    return [sys.stdin.read() if word == "-" else word for word in words]


def _log(options: dict[str, Any]) -> Callable[[str], None] | None:
    if not options["verbose"]:
        return None
    return lambda line: print(line.rstrip("\n"), file=sys.stderr)


def _llama_options(options: dict[str, Any]) -> LlamaOptions:
    return LlamaOptions(
        options["context"], options["threads"], options["gpu_layers"], _log(options)
    )


def _open(call: Session, prepared: ops.Prepared, options: dict[str, Any]) -> Engine:
    cancel = call.control.cancel
    if prepared.choice.engine == LLAMA:
        return open_llama([str(p) for p in prepared.paths], _llama_options(options), cancel)
    choice = TransformersOptions(threads=options["threads"], log=_log(options))
    return open_transformers(str(prepared.folder), choice, cancel)


def _key(file: Any) -> str | None:
    """The API key in a file, if one was named."""
    key = None if file is None else str(file.read(_KEY_LIMIT)).strip()
    if key == "":
        raise BadConfigError(f"{file.name} contains no key")
    return key


def _serve(call: Session, prepared: ops.Prepared, service: Service, options: LlamaOptions) -> None:
    if prepared.choice.engine != LLAMA:
        raise EngineError(
            "the API is served by llama.cpp, which needs a GGUF file",
            hint="pull a GGUF version; or serve the folder of 'outlast link' with vLLM",
        )
    paths = [str(path) for path in prepared.paths]
    model = service.model_alias
    with serve(paths, service, options, call.control.cancel) as server:
        if call.as_json:
            print_json({"type": "serving", "url": f"{server.url}/v1", "model": model})
        else:
            print(f"{server.url}/v1", flush=True)
            call.say(f"serving it as model {model!r}; Ctrl-C ends it")
        with contextlib.suppress(Cancelled):
            server.wait(call.control.cancel)


class _Chat:
    """A conversation in the terminal: the answer on stdout, everything else on stderr."""

    def __init__(
        self, call: Session, engine: Engine, sampling: Sampling, system: str | None
    ) -> None:
        self._call = call
        self._engine = engine
        self._sampling = sampling
        self._messages = [ChatMessage("system", system)] if system else []

    def once(self, prompt: str) -> None:
        """Answers one prompt."""
        answer, usage = self._answer(prompt)
        if self._call.as_json:
            print_json({"type": "answer", "text": answer, "usage": usage})

    def loop(self) -> None:
        """Answers until the user ends the input. Ctrl-C ends an answer, or the chat."""
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401, PLC0415 - line editing, where the platform has it
        self._call.say("Ctrl-D ends the chat")
        while True:
            try:
                prompt = input("> ")
            except EOFError:
                self._call.say("")
                return
            self._call.control.cancel.check()
            if prompt.strip():
                self._answer(prompt)

    def _answer(self, prompt: str) -> tuple[str, Usage | None]:
        self._messages.append(ChatMessage("user", prompt))
        parts: list[str] = []
        usage = None
        try:
            for part in self._engine.chat(
                self._messages, self._sampling, self._call.control.cancel
            ):
                if isinstance(part, Usage):
                    usage = part
                else:
                    self._show(part)
                    parts += [] if part.thought else [part.text]
        except OutlastError:
            self._newline()
            raise
        self._newline()
        self._messages.append(ChatMessage("assistant", "".join(parts)))
        if usage is not None:
            self._call.say(
                f"[{usage.completion_tokens} tokens, {usage.tokens_per_second:.1f} per second"
                f"{', cut at the limit' if usage.finish == 'length' else ''}]"
            )
        return "".join(parts), usage

    def _show(self, part: Delta) -> None:
        if not self._call.as_json:
            stream = sys.stderr if part.thought else sys.stdout
            stream.write(_printable(part.text))
            stream.flush()

    def _newline(self) -> None:
        if not self._call.as_json:
            sys.stdout.write("\n")
            sys.stdout.flush()


def _printable(text: str) -> str:
    """`text` without control characters, so that a model cannot steer the terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
