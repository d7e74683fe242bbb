"""``outlast launch``."""

import secrets
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from outlast.cli.config.file import environment
from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.screen.render import print_document
from outlast.core.errors import BadKeyError, NotFoundError, UsageError
from outlast.core.names import Target
from outlast.features.gateway.commands.launch_documents import LaunchDocument
from outlast.features.gateway.launch.child import run_tool
from outlast.features.gateway.launch.server import StartedServer, running
from outlast.features.gateway.launch.tools import TOOLS, CodingTool, ModelEndpoint
from outlast.features.gateway.processes.status import gateway_statuses
from outlast.features.gateway.routes.file import FILE_NAME
from outlast.store import disk

KEY: Final = "OUTLAST_GATEWAY_KEY"
_URL: Final = "OUTLAST_GATEWAY_URL"
_NO_KEY: Final = "outlast"
"""Tools want a key also where the server asks for none."""
_MOST_KEY: Final = 1000


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="""\b
Examples:
  outlast launch --local Qwen/Qwen3-Coder-GGUF claude
  outlast launch --model fast codex
  outlast launch --url http://127.0.0.1:8095 --model fast --key-file ~/.gateway-key codex
  outlast launch --url http://127.0.0.1:8095 --model fast opencode run "fix the tests"
  outlast launch --url http://127.0.0.1:8095 --model fast --print-env aider

\b
Exit status:
  that of the tool (128 + N where signal N ended it); before it runs: 2 usage · 3 the tool or the
  model is not there · 9 the server did not start
""",
)
@click.argument("tool", type=click.Choice(sorted(TOOLS)))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--url",
    metavar="URL",
    help="A gateway or 'run --api' that runs, as http://127.0.0.1:8095  [env: OUTLAST_GATEWAY_URL]",
)
@click.option("--local", type=TARGET, help="Serve this archived model while the tool runs")
@click.option("--model", metavar="NAME", help="The model's name at that URL")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Send the key in this file  [env: OUTLAST_GATEWAY_KEY has the key itself]",
)
@click.option("--print-env", is_flag=True, help="Print what the tool would be given; start nothing")
@common
def launch(
    *,
    tool: str,
    arguments: tuple[str, ...],
    url: str | None,
    local: Target | None,
    model: str | None,
    key_file: Path | None,
    print_env: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Start the coding tool TOOL with an archived model, or with a gateway or server that runs. All
    ARGUMENTS are the tool's own; options of outlast stand before TOOL.

    Tools: aider, claude, codex, goose, opencode, qwen. The tool is told by its environment and
    arguments where the model is: its own settings files stay as they are, and hold for all else.
    With --local, 'outlast run --api' is started with a key of its own on a free port of this
    machine, and ended with the tool. Without --local and --url, the gateway of this archive is
    used: the one that runs, else one that is started with the archive's gateway.toml on a free
    port, and ended with the tool. --model may then be left out where it has one route.
    """
    chosen = TOOLS[tool]
    with session(home, as_json=as_json, quiet=quiet) as run:
        env = environment()
        if local is None and not (url or env.get(_URL)) and (near := _near(run)) is not None:
            key = _key(env, key_file)
            if print_env:
                shown = _shown_key(env, key_file)
                _show(run, tool, _routed(near, model, key), arguments, shown)
                return 0
            return _run(run, chosen, _routed(near, model, key), arguments)
        if local is None and not (url or env.get(_URL)) and not print_env and _has_routes(run):
            _require(chosen, env)
            key = _key(env, key_file)
            run.say(f"starting a gateway for {tool}")
            command = ["gateway", "--listen", "127.0.0.1:0", "--home", str(run.config.home)]
            with running(command, env, "") as server:
                return _run(run, chosen, _routed(server, model, key), arguments)
        if local is None:
            at = _there(url or env.get(_URL), model, _key(env, key_file))
            if print_env:
                _show(run, tool, at, arguments, _shown_key(env, key_file))
                return 0
            return _run(run, chosen, at, arguments)
        if url is not None or model is not None or key_file is not None or print_env:
            raise UsageError(
                "--local starts a server of its own: it takes no --url, --model, --key-file or "
                "--print-env"
            )
        _require(chosen, env)
        run.say(f"loading {local.repo} for {tool}")
        key = secrets.token_urlsafe(32)
        command = ["run", str(local), "--api", "127.0.0.1:0", "--api-key-file", "-"]
        with running([*command, "--home", str(run.config.home)], env, key) as server:
            return _run(run, chosen, _started(server, key), arguments)


def _near(run: Session) -> StartedServer | None:
    """The gateway that runs on this archive; None where none answers."""
    for one in gateway_statuses(run.config.home):
        if one.status is not None and not one.status.draining:
            names = tuple(route.route for route in one.status.routes)
            return StartedServer(one.status.url, "", names)
    return None


def _has_routes(run: Session) -> bool:
    return disk.is_named(run.config.home / FILE_NAME)


def _routed(server: StartedServer, model: str | None, key: str) -> ModelEndpoint:
    """One of a gateway's models: the one named, or its only one."""
    names = ", ".join(server.routes[:20])
    if model is None and len(server.routes) == 1:
        model = server.routes[0]
    if model is None:
        raise UsageError("the gateway has several models", hint=f"--model NAME, of: {names}")
    if model not in server.routes:
        raise NotFoundError(f"the gateway has no model {model[:100]!r}", hint=f"it has: {names}")
    return ModelEndpoint(_root(server.url), key, model)


def _there(url: str | None, model: str | None, key: str) -> ModelEndpoint:
    """The endpoint that the user names."""
    if not url or not model:
        raise UsageError(
            "which model, and where?",
            hint="--local org/name serves an archived one; else --url URL --model NAME, or write "
            f"{FILE_NAME} into the archive's folder",
        )
    if not model.isprintable() or len(model) > 300:
        raise UsageError(f"not a model's name: {model[:100]!r}")
    return ModelEndpoint(_root(url), key, model)


def _root(url: str) -> str:
    """`url` without ``/v1``. Raises :class:`UsageError` for what is no URL of a server."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError("--url is not a URL") from None
    usable = url.isascii() and url.isprintable() and " " not in url and len(url) <= 2048
    if not usable or parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise UsageError("--url is not a URL", hint="write http://HOST:PORT")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError("--url has a password, a query or a fragment", hint="leave it out")
    return url.rstrip("/").removesuffix("/v1")


def _started(server: StartedServer, key: str) -> ModelEndpoint:
    return ModelEndpoint(_root(server.url), key, server.model)


def _key(env: Mapping[str, str], file: Path | None) -> str:
    """The user's key; a word in its place where there is none."""
    key = env.get(KEY, "") or _NO_KEY
    if file is not None:
        with disk.reporting(file):
            data = disk.read_plain(file, _MOST_KEY)
        if data is None:
            raise NotFoundError(f"there is no file {file}")
        key = data.decode("utf-8", "replace").strip()
    if not key.isascii() or not key.isprintable() or " " in key or not key:
        raise BadKeyError("the key for the gateway has characters that no key has")
    return key


def _shown_key(env: Mapping[str, str], file: Path | None) -> str:
    """What stands for the key in a shell: never the key itself."""
    if file is not None:
        return f'"$(cat {shlex.quote(str(file))})"'
    return f'"${KEY}"' if env.get(KEY) else shlex.quote(_NO_KEY)


def _require(tool: CodingTool, env: Mapping[str, str]) -> str:
    """Where the tool's program is. Raises :class:`NotFoundError`."""
    found = shutil.which(tool.program, path=env.get("PATH"))
    if found is None:
        raise NotFoundError(f"there is no program {tool.program} in PATH", hint="install it first")
    return found


def _run(run: Session, tool: CodingTool, at: ModelEndpoint, arguments: tuple[str, ...]) -> int:
    env = environment()
    program = _require(tool, env)
    own = {name: value for name, value in env.items() if name not in {*tool.unset, KEY}}
    run.say(f"{tool.program} with {at.model} at {at.root} ({tool.speaks})")
    return run_tool((program, *tool.arguments(at), *arguments), {**own, **tool.environment(at)})


def _show(
    run: Session, name: str, at: ModelEndpoint, arguments: tuple[str, ...], shown_key: str
) -> None:
    """What the tool would be given; a place holder goes through the table in the key's stead."""
    tool = TOOLS[name]
    marked = replace(at, key=secrets.token_hex(16))
    command = (tool.program, *tool.arguments(marked), *arguments)
    given = tool.environment(marked)
    if run.as_json:
        print_document(
            LaunchDocument(
                tool=name,
                environment={
                    variable: value for variable, value in given.items() if marked.key not in value
                },
                key_in=[variable for variable, value in given.items() if marked.key in value],
                unset=tool.unset,
                command=command,
            )
        )
        return
    if tool.unset:
        print(f"unset {' '.join(tool.unset)}")
    for variable, value in given.items():
        print(f"export {variable}={shown_key if value == marked.key else shlex.quote(value)}")
    print(shlex.join(command))
