"""`--debug` and OUTLAST_LOG: what they print, where, and what never gets into a log."""

import json
import logging
import os
import pty
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from outlast.cli.screen.logs import Levels, Redact, as_text, logging_to, parse_levels
from outlast.core.errors import UsageError
from tests.cli.call import COMMAND, SECONDS, Process, end_all, environment, finish, inside, start
from tests.gguf_cut import small_smollm2
from tests.hubsim import HubRepo, HubSim
from tests.realweights import WeightsUnavailableError

CANARY = "canary4711secret"
TOKEN = f"hf_{CANARY}"
_LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warning|error) +[a-z0-9_.]+: \S.*"
)
ALL = {"outlast": logging.DEBUG}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    """A private model, whose large file comes from a CDN with signed URLs."""
    files = {"config.json": b'{"a": 1}', "model.safetensors": bytes(range(256)) * 5000}
    HubRepo(tmp_path / "hub", "org/name", private=True).commit(files)
    with HubSim(tmp_path / "hub", mode="thread", cdn=True, token=TOKEN) as sim:
        yield sim


@pytest.fixture(autouse=True)
def _no_process_stays() -> Iterator[None]:
    yield
    end_all()


# Which levels


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("", {}),
        ("debug", {"outlast": logging.DEBUG}),
        ("WARNING", {"outlast": logging.WARNING}),
        (
            "p2p=debug, fetch=info",
            {"outlast.p2p": logging.DEBUG, "outlast.fetch": logging.INFO},
        ),
        ("error,swarm.lan=debug", {"outlast": logging.ERROR, "outlast.swarm.lan": logging.DEBUG}),
    ],
)
def test_what_the_variable_means(text: str, levels: Levels) -> None:
    assert parse_levels(text) == levels


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("loud", "not a level: 'loud'"),
        ("p2p=", "not a level: ''"),
        ("info,p2p=loud", "not a level: 'loud'"),
        ("nowhere=debug", "no package 'nowhere'"),
        ("p2p.nowhere=debug", "no package 'p2p.nowhere'"),
        ("=debug", "no package ''"),
        ("../os=info", "no package '../os'"),
    ],
)
def test_what_it_does_not_mean(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="OUTLAST_LOG") as caught:
        parse_levels(text)
    assert "known: " in caught.value.hint
    call = inside("doctor", home=tmp_path, env={"OUTLAST_LOG": text})
    assert call.failed("usage") == f"OUTLAST_LOG: {problem}"


def test_only_the_packages_that_were_asked_for() -> None:
    lines: list[dict[str, Any]] = []
    with logging_to(lines.append, parse_levels("p2p=info,store=error")):
        for name in ("outlast.p2p.strategy", "outlast.store.archive", "outlast.fetch", "other"):
            logging.getLogger(name).info("from %s", name)
    assert [(line["what"], line["message"]) for line in lines] == [
        ("outlast.p2p.strategy", "from outlast.p2p.strategy")
    ]


def test_nothing_stays_behind() -> None:
    logger = logging.getLogger("outlast.p2p")
    before = (logger.level, logger.getEffectiveLevel(), list(logging.getLogger("outlast").handlers))
    lines: list[dict[str, Any]] = []
    with logging_to(lines.append, parse_levels("debug,p2p=error")):
        assert logger.level == logging.ERROR
    assert before == (
        logger.level,
        logger.getEffectiveLevel(),
        logging.getLogger("outlast").handlers,
    )
    logger.error("not asked for")
    assert not lines


# What a line looks like


def _fail(text: str) -> None:
    raise ValueError(text)


def test_a_line_for_people() -> None:
    lines: list[str] = []
    with logging_to(as_text(lines.append), ALL):
        logging.getLogger("outlast.p2p.strategy").debug("takes %s: %d s", "a\nforged line", 3)
        try:
            _fail(f"https://user:{CANARY}@host/x")
        except ValueError:
            logging.getLogger("outlast.store").exception("it failed")
    assert _LINE.fullmatch(lines[0])
    assert lines[0].endswith(" debug   p2p.strategy: takes a\\nforged line: 3 s")
    assert lines[1].endswith(" error   store: it failed")
    assert lines[-1] == "  ValueError: https://***@host/x"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"Authorization: Bearer {CANARY}", "Authorization: ***"),
        (f"{{'authorization': 'Basic {CANARY}', 'Range': 'bytes=0-'}}", None),
        (f"bearer {CANARY} was refused", "bearer *** was refused"),
        (f"Cookie: a={CANARY}; b=c", "Cookie: ***"),
        (f"the token {TOKEN} is not known", "the token hf_*** is not known"),
        (f"https://user:{CANARY}@host:1/path", "https://***@host:1/path"),
        (f"https://user:p@ss/{CANARY}", f"https://***@ss/{CANARY}"),
        (f"socks5h://{CANARY}@host", "socks5h://***@host"),
        (f"GET https://cdn/x?Signature={CANARY} now", "GET https://cdn/x?*** now"),
        (f"GET /x?a=1&X-Amz-Signature={CANARY} now", "GET /x?a=1&X-Amz-Signature=*** now"),
        (
            f"magnet:?xt=urn:btmh:1220ab&tr=https%3A%2F%2Ft%2F%3Fpasskey%3D{CANARY}",
            "magnet:?xt=urn:btmh:1220ab***",
        ),
    ],
)
def test_what_is_redacted(text: str, left: str | None) -> None:
    found = Redact().redact(text)
    if left is None:
        assert CANARY not in found
        assert "Range" in found
    else:
        assert found == left


@pytest.mark.parametrize(
    "text",
    [
        "asks https://hub.example/org/name/resolve/main/a.bin for pieces 1-4",
        "org/name@main: 3 files, the base is org/base",
        "bearer of news",
        "10.0.0.2:8091 fetches it since 40 s",
    ],
)
def test_what_is_left_alone(text: str) -> None:
    assert Redact(["abc", ""]).redact(text) == text


def test_the_secrets_of_the_configuration_are_known_by_value() -> None:
    lines: list[dict[str, Any]] = []
    with logging_to(lines.append, ALL, [f"{CANARY}-longer", CANARY]):
        logging.getLogger("outlast.x").info("%s", {"odd": f"<{CANARY}-longer>", "b": CANARY})
    assert lines[0]["message"] == "{'odd': '<***>', 'b': '***'}"


# The switches


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (("--debug", "pull"), {}),
        (("pull", "--debug"), {}),
        (("pull", "--quiet", "--debug"), {}),
        (("pull",), {"OUTLAST_LOG": "debug"}),
        (("pull",), {"OUTLAST_LOG": "ops=info"}),
    ],
)
def test_why_a_pull_does_what_it_does(
    hub: HubSim, tmp_path: Path, arguments: Sequence[str], env: dict[str, str]
) -> None:
    env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, **env}
    call = inside(*arguments, "org/name", "--exclude", "*.json", home=tmp_path, env=env).ok()
    sha = HubRepo(hub.root, "org/name").head.sha
    assert call.out == f"{sha}\n"
    lines = [line for line in call.err.splitlines() if _LINE.fullmatch(line)]
    assert any(f"ops.pulling.plan: org/name@main is commit {sha}" in line for line in lines)
    assert any("the revision is partial: --include and --exclude leave out 1" in x for x in lines)
    if "debug" not in (*arguments, env.get("OUTLAST_LOG")) and "--debug" not in arguments:
        assert all(" ops." in line for line in lines)


def test_without_a_switch_there_is_no_line(hub: HubSim, tmp_path: Path) -> None:
    env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN}
    call = inside("pull", "org/name", home=tmp_path, env=env).ok()
    assert not [line for line in call.err.splitlines() if _LINE.fullmatch(line)]
    assert inside("doctor", "--json", home=tmp_path).ok().err == ""


def test_json_stays_json(hub: HubSim, tmp_path: Path) -> None:
    env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "OUTLAST_LOG": "debug"}
    call = inside("pull", "org/name", "--json", home=tmp_path, env=env).ok()
    assert call.result["type"] == "pulled"
    assert call.err
    assert all(_LINE.fullmatch(line) for line in call.err.splitlines())


def test_lines_appear_above_the_bars(hub: HubSim, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(
        [*COMMAND, "pull", "org/name", "--debug"],
        env=environment(tmp_path, **env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        seen = bytearray()
        while data := _read(ours):
            seen += data
        assert process.wait(SECONDS) == 0
    os.close(ours)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode()).replace("\r", "\n")
    lines = [line.strip() for line in plain.splitlines()]
    named = "ops.pulling.plan: org/name@main"
    assert any(_LINE.fullmatch(line) and named in line for line in lines)
    assert any(line.startswith("pull org/name ") for line in lines)  # the bar
    assert not [x for x in lines if "ops.pulling.plan: " in x and not _LINE.fullmatch(x)]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the last writer has closed it
        return b""


# Canaries


def _assert_unseen(archive: Path, *outputs: str) -> None:
    for output in outputs:
        assert CANARY not in output
    for path in archive.rglob("*"):
        assert CANARY not in path.name
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path


def test_a_pull_keeps_its_token_to_itself(hub: HubSim, tmp_path: Path) -> None:
    env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "OUTLAST_LOG": "debug"}
    call = inside("pull", "org/name", home=tmp_path, env=env).ok()
    assert any(entry.has_auth for entry in hub.requests())
    assert hub.requests(listener="cdn")
    again = inside("verify", home=tmp_path, env=env).ok()
    _assert_unseen(tmp_path / "archive", call.out, call.err, again.out, again.err)


def test_a_token_of_the_configuration(hub: HubSim, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[tokens]\n"{hub.url}" = "{TOKEN}"\n')
    env = {"OUTLAST_CONFIG": str(config), "OUTLAST_LOG": "debug"}
    call = inside("pull", "org/name", "--from", hub.url, home=tmp_path, env=env).ok()
    assert any(entry.has_auth for entry in hub.requests())
    _assert_unseen(tmp_path / "archive", call.out, call.err)


@pytest.mark.parametrize("more", [[], ["--json"], ["--dry-run"]])
def test_a_token_that_is_refused(hub: HubSim, tmp_path: Path, more: list[str]) -> None:
    env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": f"hf_other_{CANARY}", "OUTLAST_LOG": "debug"}
    call = inside("pull", "org/name", *more, home=tmp_path, env=env)
    call.failed("access-denied", "repo-not-found")
    _assert_unseen(tmp_path / "archive", call.out, call.err)


def test_a_password_in_a_url(hub: HubSim, tmp_path: Path) -> None:
    url = hub.url.replace("//", f"//user:{CANARY}@")
    for arguments in (("pull", "org/name", "--from", url), ("serve", "--upstream", url)):
        call = inside(*arguments, home=tmp_path, env={"OUTLAST_LOG": "debug"})
        call.failed("bad-config")
        _assert_unseen(tmp_path / "archive", call.out, call.err)
    proxy = {"http_proxy": f"http://user:{CANARY}@127.0.0.1:9", "OUTLAST_LOG": "debug"}
    remote = ("pull", "org/name", "--from", "http://hub.invalid")
    call = inside(*remote, home=tmp_path, env=proxy)
    call.failed("unreachable")
    _assert_unseen(tmp_path / "archive", call.out, call.err)


def test_a_mirror_keeps_its_tokens_to_itself(hub: HubSim, tmp_path: Path) -> None:
    clients = f"client{CANARY}"
    (tmp_path / "tokens").write_text(f"me {clients} org/name\n")
    env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "OUTLAST_LOG": "debug"}
    arguments = ("--upstream", hub.url, "--listen", "127.0.0.1:0", "--json")
    process = start(
        "serve", *arguments, "--tokens", str(tmp_path / "tokens"), home=tmp_path, env=env
    )
    url = _url_of(process)
    path = "org/name/resolve/main/model.safetensors"
    request = urllib.request.Request(f"{url}/{path}?token={CANARY}")
    request.add_header("Authorization", f"Bearer {clients}")
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        assert len(answer.read()) == 256 * 5000
    process.send_signal(signal.SIGTERM)
    call = finish(process)
    assert call.code == 0, call.err
    logged = [json.loads(line) for line in call.err.splitlines()]  # every line is JSON
    assert any(line.get("what", "").startswith("outlast.") for line in logged)
    assert all("time" in line for line in logged)
    _assert_unseen(tmp_path / "archive", call.out, call.err)


def _url_of(process: Process) -> str:
    assert process.stdout is not None
    return str(json.loads(process.stdout.readline())["url"])


def test_an_api_keeps_its_key_to_itself(tmp_path: Path) -> None:
    try:
        weights = small_smollm2(tmp_path)
    except WeightsUnavailableError as error:
        pytest.skip(str(error))
    env = {"HF_TOKEN": TOKEN, "OUTLAST_LOG": "debug"}
    inside("add", weights, "--as", "me/model", "--form", "plain", home=tmp_path).ok()
    (tmp_path / "key").write_text(CANARY)
    api = ("run", "me/model", "--api", "127.0.0.1:0", "--json", "--context", "256")
    process = start(*api, "--verbose", "--api-key-file", tmp_path / "key", home=tmp_path, env=env)
    url = ""
    assert process.stdout is not None
    while not url:
        document = json.loads(process.stdout.readline())
        url = document.get("url", "") if document["type"] == "serving" else ""
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2})
    request = urllib.request.Request(f"{url}/chat/completions", body.encode())
    request.add_header("Authorization", f"Bearer {CANARY}")
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        assert json.load(answer)["choices"]
    process.send_signal(signal.SIGINT)
    call = finish(process)
    assert call.code == 0, call.err
    assert " ops.run: runs " in call.err
    _assert_unseen(tmp_path / "archive", call.out, call.err)
