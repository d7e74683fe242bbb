"""``outlast run``."""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import click

from outlast.cli.chat.loop import Chat
from outlast.cli.documents.running import ServingModelDocument
from outlast.cli.edge import Session, budget_option, common, host_and_port, session
from outlast.cli.options.accepted import accept_start_option
from outlast.cli.options.adapter import (
    RUN_TARGET,
    all_targets,
    any_base_option,
    more_adapters_option,
    opened_adapters,
)
from outlast.cli.options.code import (
    CodeForRun,
    allow_code_option,
    code_for_run,
    refuse_changed_code,
)
from outlast.cli.options.revoked import accept, accept_option
from outlast.cli.options.sealed import noting, sealed_option
from outlast.cli.screen.render import print_document
from outlast.core.digest import Digest
from outlast.core.errors import BadConfigError, UsageError, one_line
from outlast.core.events import Loading
from outlast.core.names import RunTarget, Target
from outlast.core.printable import printable
from outlast.core.sizes import human_size
from outlast.engines.base import Engine, Sampling
from outlast.engines.choose import LLAMA, TRANSFORMERS
from outlast.engines.llama import LlamaOptions, open_llama
from outlast.engines.served import Service
from outlast.engines.transformers import open_transformers
from outlast.ops import run as ops
from outlast.ops.claims import accept_of
from outlast.ops.run_adapter import ReadyAdapter, resolve
from outlast.server.model import server as model_server
from outlast.server.model.engines import engine_for, serve_model, transformers_options
from outlast.server.model.front import Serves
from outlast.server.model.loaded import loaded_by
from outlast.server.model.origin import Origin
from outlast.store.archive import Archive

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
  outlast run Qwen/Qwen3-0.6B-GGUF                    chat; /help lists its commands
  git diff | outlast run me/model "Describe this change:" -
  outlast run me/model --api 127.0.0.1:8080           OpenAI-compatible API
  outlast run org/base --api :8080 --adapter me/facts --adapter me/style
  outlast run me/model --sealed                       the engine reaches no network
  outlast run org/theirs --accept 3f0c55a1e2b94d07    run what nothing else speaks for
  outlast run org/code --allow-code 9b1deb4d3b7d4bad  run it with its own Python files

\b
Exit status:
  0 done · 2 usage · 3 not archived · 4 damage found · 7 no claim holds, it is revoked, or its
  code changed · 8 storage · 9 engine · 130 interrupted
"""
)
@click.argument("target", type=RUN_TARGET)
@click.argument("prompt", nargs=-1)
@click.option("--api", metavar="HOST:PORT", help="Serve an OpenAI-compatible API instead of a chat")
@click.option("--api-key-file", type=click.File("r"), help="Require the API key in this file")
@click.option(
    "--embeddings",
    is_flag=True,
    help="With --api: serve embeddings, too  [default: if the model was made for them]",
)
@_sampling_options
@_engine_options
@more_adapters_option
@any_base_option
@accept_start_option
@allow_code_option
@accept_option
@sealed_option
@common
def run(
    target: RunTarget,
    *,
    prompt: tuple[str, ...],
    api: str | None,
    api_key_file: Any,
    embeddings: bool,
    more: tuple[Target, ...],
    system: str | None,
    accepted: tuple[Digest, ...],
    vouched: str | None,
    code_start: str | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Chat with TARGET, answer PROMPT, or serve TARGET as an API.

    GGUF files run with llama.cpp; safetensors models need the 'transformers' extra, which answers
    one request at a time, without tools and embeddings. The files are checked against their digests
    first. A '-' in PROMPT is replaced by what stdin contains.

    TARGET may be an adapter, whose base is found by its record, or both: org/base+org/adapter.
    Adapters in GGUF run with llama.cpp, others need the 'tune' extra.

    A model that needs Python code of its own runs with --allow-code and the digest of that code,
    which 'outlast show' prints: it runs with your rights. Code that changed asks again, and shows
    how.

    Beside that a model needs one of the claims published, observed (as what you pulled from a hub
    yourself is) and listed, or your word: you added it, or accept the digest of its manifest.
    Rules of yours that ask for claims take the place of that.
    """
    if api is not None and prompt:
        raise UsageError("--api takes no PROMPT")
    if embeddings and api is None:
        raise UsageError("--embeddings needs --api", hint="a chat has no use for embeddings")
    if more and api is None:
        raise UsageError("--adapter needs --api", hint="a chat has one: org/base+org/adapter")
    names = ("max_tokens", "temperature", "top_p", "seed")
    sampling = Sampling(**{name: options.pop(name) for name in names})
    with session(home, as_json=as_json, quiet=quiet) as call, call.archive() as archive:
        accept(call, archive, accepted, [target.model, *all_targets(target, more)])
        if options["budget"] is None:
            options["budget"] = call.config.working_copies
        target = resolve(archive, target)
        adapters = all_targets(target, more)
        if vouched is not None:
            word = accept_of(archive, [target.model, *adapters], vouched)
            call.say(
                f"accepted, and remembered: {word.repo} of the manifest {word.manifest.short}…"
            )
        code = code_for_run(call, archive, target.model, code_start)
        with (
            ops.prepare(
                archive,
                target.model,
                wanted=options["wanted"],
                engine=engine_for(archive, adapters, options["engine"]),
                recheck=options["recheck"],
                budget=options["budget"],
                assessor=lambda: call.assessor(archive),
                code=code.allowed,
                control=call.control,
            ) as prepared,
            opened_adapters(call, archive, adapters, prepared, options) as ready,
        ):
            choice = prepared.choice
            call.screen.settle()
            if choice.engine == TRANSFORMERS:
                refuse_changed_code(call, archive, target.model, code)
            call.say(f"{one_line(choice.why)} ({human_size(choice.size)}, {choice.engine})")
            for one in ready:
                call.say(f"with the adapter {one.revision.repo}, by {one.engine}")
            if api is not None:
                _serve(
                    call,
                    archive,
                    prepared,
                    ready,
                    Service(str(target.model.repo), embeddings or None),
                    options=_llama_options(call, prepared, options),
                    place=host_and_port(api, _API_PORT),
                    key=_key(api_key_file),
                    start=f"outlast run {shlex.quote(str(target))} --api …",
                    usual=target.adapter is not None,
                    code=code,
                )
                return
            with (
                _open(call, prepared, options, ready, code) as engine,
                noting(call, archive, prepared, engine, sealed=options["sealed"]),
            ):
                prepared.confirm()
                chat = Chat(call, engine, sampling, system)
                if prompt or not sys.stdin.isatty():
                    chat.once(" ".join(_with_stdin(prompt or ("-",))))
                else:
                    chat.loop()


def _with_stdin(words: tuple[str, ...]) -> list[str]:
    return [sys.stdin.read() if word == "-" else word for word in words]


def _log(options: dict[str, Any]) -> Callable[[str], None] | None:
    if not options["verbose"]:
        return None
    # It quotes what the file says of itself, such as its name.
    return lambda line: print(printable(line.rstrip("\n")), file=sys.stderr)


def _waits(call: Session, prepared: ops.Prepared) -> Callable[[float], None]:
    """Tells the user that a model is loading, and since when."""
    size, name = prepared.choice.size, prepared.choice.engine

    def waits(seconds: float) -> None:
        call.control.emit(Loading(name, size, seconds))

    return waits


def _llama_options(call: Session, prepared: ops.Prepared, options: dict[str, Any]) -> LlamaOptions:
    return LlamaOptions(
        options["context"],
        options["threads"],
        options["gpu_layers"],
        _log(options),
        _waits(call, prepared),
        sealed=options["sealed"],
    )


def _open(
    call: Session,
    prepared: ops.Prepared,
    options: dict[str, Any],
    adapters: Sequence[ReadyAdapter],
    code: CodeForRun,
) -> Engine:
    cancel, wishes = call.control.cancel, _llama_options(call, prepared, options)
    of_peft = [one for one in adapters if one.adapter is not None]
    if prepared.choice.engine == LLAMA and not of_peft:
        found = tuple(str(one.path) for one in adapters)
        paths = [str(path) for path in prepared.paths]
        return open_llama(paths, replace(wishes, adapters=found), cancel)
    place = prepared.folder if prepared.folder is not None else prepared.paths[0]
    choice = transformers_options(wishes, adapters, prepared.code, code.hint)
    return open_transformers(str(place), choice, cancel)


def _key(file: Any) -> str | None:
    """The API key in a file, if one was named."""
    key = None if file is None else str(file.read(_KEY_LIMIT)).strip()
    if key == "":
        raise BadConfigError(f"{file.name} contains no key")
    return key


def _serve(
    call: Session,
    archive: Archive,
    prepared: ops.Prepared,
    adapters: Sequence[ReadyAdapter],
    service: Service,
    *,
    options: LlamaOptions,
    place: tuple[str, int],
    key: str | None,
    start: str,
    usual: bool,
    code: CodeForRun,
) -> None:
    """Serves the model at `place` until Ctrl-C; `start` is the command line, for hints. `usual`:
    the first adapter answers where a request names no model.
    """
    model, cancel = service.model_alias, call.control.cancel
    with (
        model_server.bind(*place) as sock,
        serve_model(prepared, adapters, service, options, cancel, code_hint=code.hint) as engine,
        noting(call, archive, prepared, engine, sealed=options.sealed),
    ):
        prepared.confirm()
        loaded = loaded_by(engine, prepared, adapters, usual=usual)
        url = f"{model_server.url_of(sock)}/v1"

        def ready() -> None:
            if call.as_json:
                print_document(ServingModelDocument(url=url, model=model))
            else:
                print(url, flush=True)
                call.say(f"serving it as model {model!r}; Ctrl-C ends it")
                for one in loaded.adapters:
                    call.say(f"and as {one.name!r}")

        sealing = engine.sealing
        by = () if sealing is None else sealing.by
        origin = Origin(prepared.revision.digest.hex, engine.build, by)
        serves = Serves(loaded, key, origin, start, engine.count_request)
        api = model_server.Api(serves, call.config.serve.hosts)
        model_server.serve(engine, sock, api, ready, cancel)
