"""``outlast launch``: what tools are given, and what becomes of their servers and signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from outlast.core.errors import EngineError
from outlast.features.gateway.launch.server import running
from outlast.features.gateway.launch.tools import TOOLS
from outlast.features.gateway.processes.status import gateway_statuses
from tests.cli.call import environment, finish, inside, start, until
from tests.features.gateway.launch.toolbox import CALLS, WAITS, told, tool
from tests.features.gateway.upstream import Provider, providers
from tests.gguf_cut import small_smollm2
from tests.realweights import WeightsUnavailableError

URL = "http://127.0.0.1:8095"
CANARY = "outlast-0123456789ab-canarycanarycanary"
THERE = ("--url", f"{URL}/v1/", "--model", "fast")


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_is_told_where_the_model_is(tmp_path: Path, name: str) -> None:
    env = {
        "PATH": tool(tmp_path / "bin", TOOLS[name].program),
        "OUTLAST_GATEWAY_KEY": CANARY,
        "ANTHROPIC_API_KEY": "sk-of-the-user",
    }
    call = inside("launch", *THERE, name, "-p", "--home", "a b", home=tmp_path, env=env).ok()
    (said,) = told(tmp_path / "bin")
    assert said["arguments"][-3:] == ["-p", "--home", "a b"]
    given: dict[str, str] = said["environment"]
    assert "OUTLAST_GATEWAY_KEY" not in given
    assert URL in json.dumps([given, said["arguments"]])
    assert "fast" in json.dumps([said["arguments"], {**given, "PATH": ""}])
    assert CANARY in given.values()
    assert CANARY not in call.err + json.dumps(said["arguments"])
    assert {path.name for path in tmp_path.rglob("*")} == {"bin", "told", TOOLS[name].program}
    check = CHECKS[name]
    check(given, said["arguments"])


def claude(given: dict[str, str], arguments: list[str]) -> None:
    assert (given["ANTHROPIC_BASE_URL"], given["ANTHROPIC_AUTH_TOKEN"]) == (URL, CANARY)
    assert "ANTHROPIC_API_KEY" not in given
    assert given["ANTHROPIC_MODEL"] == given["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == "fast"
    assert len(arguments) == 3


def codex(given: dict[str, str], arguments: list[str]) -> None:
    overrides = tomllib.loads("\n".join(arguments[1:12:2]))
    assert (overrides["model"], overrides["model_provider"]) == ("fast", "outlast")
    assert overrides["model_providers"]["outlast"] == {
        "name": "outlast",
        "base_url": f"{URL}/v1",
        "env_key": "OUTLAST_API_KEY",
        "wire_api": "responses",
    }
    assert given["OUTLAST_API_KEY"] == CANARY


def opencode(given: dict[str, str], arguments: list[str]) -> None:
    config = json.loads(given["OPENCODE_CONFIG_CONTENT"])
    provider = config["provider"]["outlast"]
    assert provider["options"] == {"baseURL": f"{URL}/v1", "apiKey": "{env:OUTLAST_API_KEY}"}
    assert (config["model"], list(provider["models"])) == ("outlast/fast", ["fast"])
    assert given["OUTLAST_API_KEY"] == CANARY
    assert len(arguments) == 3


def aider(given: dict[str, str], arguments: list[str]) -> None:
    assert (given["OPENAI_API_BASE"], given["OPENAI_API_KEY"]) == (f"{URL}/v1", CANARY)
    assert arguments[:2] == ["--model", "openai/fast"]


def qwen(given: dict[str, str], arguments: list[str]) -> None:
    assert (given["OPENAI_BASE_URL"], given["OPENAI_MODEL"]) == (f"{URL}/v1", "fast")
    assert len(arguments) == 3


def goose(given: dict[str, str], arguments: list[str]) -> None:
    assert (given["OPENAI_HOST"], given["OPENAI_BASE_PATH"]) == (URL, "v1/chat/completions")
    assert (given["GOOSE_PROVIDER"], given["GOOSE_MODEL"]) == ("openai", "fast")
    assert len(arguments) == 3


CHECKS = {
    "aider": aider,
    "claude": claude,
    "codex": codex,
    "goose": goose,
    "opencode": opencode,
    "qwen": qwen,
}


@pytest.mark.parametrize("name", TOOLS)
def test_print_env_is_for_a_shell_and_has_no_key(tmp_path: Path, name: str) -> None:
    key = tmp_path / "a key"
    key.write_text(CANARY + "\n")
    env = {"PATH": tool(tmp_path / "bin", TOOLS[name].program)}
    asked = ("launch", *THERE, "--key-file", key)
    shown = inside(*asked, "--print-env", name, "-p", "a b", home=tmp_path, env=env).ok()
    assert CANARY not in shown.out
    subprocess.run(
        ["/bin/sh", "-c", shown.out], env=environment(tmp_path, **env), cwd=tmp_path, check=True
    )
    inside(*asked, name, "-p", "a b", home=tmp_path, env=env).ok()
    by_shell, by_us = told(tmp_path / "bin")
    skipped = {"PWD", "SHLVL", "_", "OLDPWD", "LC_CTYPE"}
    for said in (by_shell, by_us):
        for variable in skipped:
            said["environment"].pop(variable, None)
    assert by_shell == by_us
    document = inside(*asked, "--print-env", "--json", name, home=tmp_path, env=env).ok()
    assert CANARY not in document.out
    assert document.result["key_in"]


def test_the_exit_status_is_the_tools(tmp_path: Path) -> None:
    env = {"PATH": tool(tmp_path / "bin", "claude", "sys.exit(42)")}
    assert inside("launch", *THERE, "claude", home=tmp_path, env=env).code == 42
    env = {"PATH": tool(tmp_path / "bin", "claude", "os.kill(os.getpid(), 9)")}
    assert inside("launch", *THERE, "claude", home=tmp_path, env=env).code == 128 + 9


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_to_end_reach_the_tool(tmp_path: Path, number: signal.Signals) -> None:
    env = {"PATH": tool(tmp_path / "bin", "claude", WAITS)}
    process = start("launch", *THERE, "claude", home=tmp_path, env=env)
    _wait_for(process, b"waits")
    process.send_signal(number)
    call = finish(process)
    assert call.code == 40 + number
    assert call.out.strip() == f"got {number}"


def test_a_ctrl_c_is_the_tools_own(tmp_path: Path) -> None:
    env = {"PATH": tool(tmp_path / "bin", "claude", WAITS)}
    process = start("launch", *THERE, "claude", home=tmp_path, env=env)
    _wait_for(process, b"waits")
    process.send_signal(signal.SIGINT)  # not to the tool: it lives
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert finish(process).code == 40 + signal.SIGTERM


def _wait_for(process: subprocess.Popen[bytes], word: bytes) -> None:
    assert process.stdout is not None
    while word not in (line := process.stdout.readline()):
        assert line, finish(process)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("claude",), "usage"),
        (("--url", URL, "claude"), "usage"),
        (("--url", "ftp://x", "--model", "m", "claude"), "usage"),
        (("--url", "http://u:p@x", "--model", "m", "claude"), "usage"),
        (("--url", "http://x/?a", "--model", "m", "claude"), "usage"),
        (("--url", "http://x:0", "--model", "m", "claude"), "usage"),
        (("--url", "http://x\ny", "--model", "m", "claude"), "usage"),
        (("--url", URL, "--model", "a\nb", "claude"), "usage"),
        (("--local", "a/b", "--url", URL, "claude"), "usage"),
        (("--local", "a/b", "--print-env", "claude"), "usage"),
        ((*THERE, "vim"), "usage"),
        ((*THERE, "--key-file", "none", "claude"), "not-found"),
        ((*THERE, "claude"), "not-found"),
        (("--local", "a/b", "claude"), "not-found"),
    ],
)
def test_what_cannot_be_launched(tmp_path: Path, arguments: tuple[str, ...], code: str) -> None:
    env = {"PATH": str(tmp_path)}
    inside("launch", *arguments, home=tmp_path, env=env).failed(code)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "\xff"])
def test_what_is_no_key(tmp_path: Path, key: str) -> None:
    path = tmp_path / "key"
    path.write_text(key, "latin-1")
    asked = ("launch", *THERE, "--key-file", path, "--print-env", "claude")
    inside(*asked, home=tmp_path).failed("bad-key")


# With a server of its own


def test_with_an_archived_model(tmp_path: Path) -> None:
    try:
        weights = small_smollm2(tmp_path)
    except WeightsUnavailableError as error:
        pytest.skip(str(error))
    inside("add", weights, "--as", "me/model", "--form", "plain", home=tmp_path).ok()
    env = {"PATH": tool(tmp_path / "bin", "claude", CALLS + "sys.exit(7)")}
    call = inside("launch", "--local", "me/model", "claude", home=tmp_path, env=env)
    assert call.code == 7, call.err
    said, answer = told(tmp_path / "bin")
    assert answer["type"] == "message"
    assert said["environment"]["ANTHROPIC_MODEL"] == "me/model"
    port = int(said["environment"]["ANTHROPIC_BASE_URL"].rpartition(":")[2])
    assert _listens(port) is False


def _routes(home: Path, provider: Provider) -> None:
    path = home / "archive" / "gateway.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'[endpoints.a]\nurl = "{provider.url}"\n[routes.fast]\ntargets = "a:big"\n')


def test_a_gateway_is_started_where_none_runs(tmp_path: Path) -> None:
    with providers("a") as (a,):
        _routes(tmp_path, a)
        env = {"PATH": tool(tmp_path / "bin", "claude", CALLS + "sys.exit(7)")}
        call = inside("launch", "claude", home=tmp_path, env=env)
        assert call.code == 7, call.err
        said, answer = told(tmp_path / "bin")
        assert answer["content"][0]["text"].startswith("w0 w1")
        assert said["environment"]["ANTHROPIC_MODEL"] == "fast"
        port = int(said["environment"]["ANTHROPIC_BASE_URL"].rpartition(":")[2])
        assert _listens(port) is False
        assert gateway_statuses(tmp_path / "archive") == []
        inside("launch", "--model", "slow", "claude", home=tmp_path, env=env).failed("not-found")


def test_the_gateway_that_runs_is_used(tmp_path: Path) -> None:
    with providers("a") as (a,):
        _routes(tmp_path, a)
        process = start("gateway", "--listen", "127.0.0.1:0", "--json", home=tmp_path)
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        env = {"PATH": tool(tmp_path / "bin", "claude", CALLS)}
        assert inside("launch", "claude", home=tmp_path, env=env).code == 0
        said, answer = told(tmp_path / "bin")
        assert f"{said['environment']['ANTHROPIC_BASE_URL']}/v1" == url
        assert answer["type"] == "message"
        shown = inside("launch", "--print-env", "claude", home=tmp_path, env=env).ok()
        assert url.removesuffix("/v1") in shown.out
        assert _listens(int(url.split(":")[2].removesuffix("/v1")))
        process.send_signal(signal.SIGTERM)
        finish(process)


PLAYS = """
import json, os, signal, socket, sys
key = sys.stdin.readline().strip()
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.create_server(("127.0.0.1", 0))
print("not json")
print(json.dumps({"type": "loading"}), flush=True)
url = "http://127.0.0.1:%d/v1" % listener.getsockname()[1]
print(json.dumps({"type": "serving", "url": url, "model": key + str(os.getpid())}), flush=True)
signal.pause()
"""


@pytest.fixture
def plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment in which ``python -m outlast`` is a small server."""
    (tmp_path / "outlast_plays.py").write_text(PLAYS)
    original = subprocess.Popen

    def instead(command: list[str], **more: Any) -> Any:
        at = command.index("outlast")
        command = [*command[:at], "outlast_plays", *command[at + 1 :]]
        return original(command, **more)

    monkeypatch.setattr("outlast.features.gateway.launch.server.subprocess.Popen", instead)
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def test_a_server_gets_its_key_and_ends_with_the_block(plays: dict[str, str]) -> None:
    with running(["gateway"], plays, "secret") as server:
        assert server.model.startswith("secret")
        pid = int(server.model.removeprefix("secret"))
        assert _listens(int(server.url.rpartition(":")[2].split("/")[0]))
        os.kill(pid, 0)
    until(lambda: not _lives(pid), "the server ends")


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    env = {"PATH": tool(tmp_path / "bin", "claude")}
    call = inside("launch", "--local", "me/none", "claude", home=tmp_path, env=env)
    assert "no archive" in call.failed("engine")
    assert "'outlast pull'" in call.err


def test_a_server_that_ends_without_a_word(plays: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "outlast_plays.py").write_text("raise SystemExit('it is broken')")
    with (
        pytest.raises(EngineError, match="'outlast gateway' did not start: it is broken"),
        running(["gateway"], plays, "secret"),
    ):
        pass


HOLDS = """
import os, sys
from outlast.features.gateway.launch import server
server.subprocess.Popen, original = (
    lambda command, **more: original(
        [part if part != "outlast" else "outlast_plays" for part in command], **more
    ),
    server.subprocess.Popen,
)
with server.running(["gateway", *sys.argv[1:]], os.environ, "") as one:
    print(one.model, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_ends_with_a_launch_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "outlast_plays.py").write_text(PLAYS)
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert _lives(pid)
    process.send_signal(number)
    process.communicate()
    until(lambda: not _lives(pid), "the server ends")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def test_every_tool_names_its_source() -> None:
    assert all(one.source.startswith("https://") for one in TOOLS.values())
