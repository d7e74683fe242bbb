"""Where output goes: pipes that close, terminals, JSON for programs; and users without rights."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.campaign import rounds
from tests.cli.call import COMMAND, SECONDS, environment, inside
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import FILES, check_archive, tree

UNPRIVILEGED = 65534
PIPE = 1 << 16
"""Bytes that a pipe holds while nothing reads it (pipe(7))."""


def shell(script: str, home: Path) -> "subprocess.CompletedProcess[str]":
    """Runs a line of shell in which `outlast` is our command."""
    command = " ".join(f"'{part}'" for part in COMMAND)
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'outlast() {{ {command} "$@"; }}; {script}'],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with enough files for a listing of them to fill a pipe."""
    home = tmp_path_factory.mktemp("many")
    folder = home / "folder"
    folder.mkdir()
    for number in range(600):
        (folder / f"{'long-name-' * 15}{number}.txt").write_text("same")
    inside("add", folder, "--as", "me/many", home=home).ok()
    return home


@pytest.mark.parametrize("command", ["verify --json", "show me/many", "show me/many --json"])
def test_a_reader_that_leaves(many: Path, command: str) -> None:
    said = inside(*command.split(), home=many).ok().out
    assert len(said) > (PIPE if command.startswith("show") else 10)
    done = shell(f"outlast {command} | head -c 10", many)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert "Broken" not in done.stderr
    assert done.returncode in {0, 141}


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_name_that_the_encoding_lacks(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "\u6a21\u578b-\U0001f917.txt").write_text("x")
    inside("add", tmp_path / "folder", "--as", "me/mine", home=tmp_path).ok()
    for command in (
        "show me/mine",
        "show me/absent-\u6a21",
        "verify me/mine",
        "show me/mine --json",
    ):
        done = shell(f"PYTHONIOENCODING={encoding} PYTHONUTF8=0 outlast {command}", tmp_path)
        assert "Traceback" not in done.stderr
        assert done.returncode == (0 if "absent" not in command else 2), done.stderr
    assert (
        "\\u6a21\\u578b-"
        in shell(f"PYTHONIOENCODING={encoding} outlast show me/mine", tmp_path).stdout
    )


CLOSED = (">&-", "2>&-", ">&- 2>&-", "<&-", "< /dev/null")
PRINTING = ["ls", "show me/mine", "ls --json", "--version", "--help", "doctor", "gc"]
PRINTING += ["completion bash"]


@pytest.mark.torture
@pytest.mark.parametrize(
    ("command", "closed"),
    [
        (command, closed)
        for number, command in enumerate(PRINTING)
        for shift, closed in enumerate(CLOSED)
        if (number + shift) % len(CLOSED) < rounds(2, len(CLOSED))
    ],
)
def test_closed_streams(home: Path, command: str, closed: str) -> None:
    done = shell(f"outlast {command} {closed}", home)
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 1}


def test_an_error_with_closed_streams(home: Path) -> None:
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        done = shell(f"outlast show me/absent --json {closed}", home)
        assert "Traceback" not in done.stderr
        assert done.returncode == 3


def test_a_full_pipe_device(home: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    done = shell("outlast show me/mine > /dev/full", home)
    assert "Traceback" not in done.stderr
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1


def on_terminal(*arguments: str | Path, home: Path, columns: int = 80) -> tuple[int, str]:
    """Runs a command whose stderr and stdout are a terminal; its status and all it printed."""
    main, side = pty.openpty()
    try:
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            env=environment(home, TERM="xterm-256color", COLUMNS=str(columns)),
            stdin=side,
            stdout=side,
            stderr=side,
        )
        os.close(side)
        data = b""
        while select.select([main], [], [], SECONDS)[0]:
            try:
                chunk = os.read(main, 1 << 16)
            except OSError:
                break
            if not chunk:
                break
            data += chunk
        return process.wait(SECONDS), data.decode()
    finally:
        os.close(main)


def test_bars_on_a_terminal(tmp_path: Path) -> None:
    HubRepo(tmp_path / "hub", "org/name").commit(FILES)
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        code, text = on_terminal("pull", "org/name", "--from", hub.url, home=tmp_path)
    assert code == 0
    assert "pull org/name" in text
    assert re.search(r"━|\d+(\.\d)?/\d+(\.\d)? MB", text)
    assert "Traceback" not in text
    code, text = on_terminal("verify", home=tmp_path)
    assert (code, "all intact" in text) == (0, True)


def test_a_hostile_name_cannot_drive_the_terminal(tmp_path: Path) -> None:
    code, text = on_terminal("show", "org/\x1b]0;owned\x07name", home=tmp_path)
    assert code == 2
    assert "\x1b]0" not in text
    assert "\x07" not in text


def test_no_escape_codes_without_a_terminal(home: Path) -> None:
    for arguments in (["verify"], ["ls"], ["show", "me/mine"], ["doctor"]):
        call = inside(*arguments, home=home, env={"TERM": "xterm-256color"}).ok()
        assert "\x1b" not in call.out + call.err
        assert "\r" not in call.out + call.err


JSON_COMMANDS: dict[str, tuple[list[str], str | None]] = {
    "add": (["add", "folder", "--as", "me/more"], "added"),
    "ls": (["ls"], None),
    "show": (["show", "me/mine"], None),
    "verify": (["verify"], "verified"),
    "link": (["link", "me/mine"], "linked"),
    "rm --dry-run": (["rm", "me/mine", "--dry-run"], "would-remove"),
    "gc --dry-run": (["gc", "--dry-run"], "collected"),
    "doctor": (["doctor"], None),
    "rm": (["rm", "me/mine"], "removed-all"),
    "gc": (["gc"], "collected"),
    "verify one": (["verify", "me/mine"], "verified"),
}


@pytest.mark.parametrize("name", JSON_COMMANDS)
def test_json_line_by_line(home: Path, name: str) -> None:
    arguments, kind = JSON_COMMANDS[name]
    call = inside(*arguments, "--json", home=home, cwd=home).ok()
    assert call.err == ""
    assert call.documents, "nothing was printed"
    assert all(isinstance(document, dict) for document in call.documents)
    if kind is not None:
        assert call.result["type"] == kind
    assert not re.search(r"[^\x20-\x7e\n]", call.out)


def test_json_keeps_every_number_and_name(home: Path) -> None:
    shown: dict[str, Any] = inside("show", "me/mine", "--json", home=home).ok().result
    assert shown["bytes"] == sum(entry["size"] for entry in shown["files"])
    (line,) = [
        document
        for document in inside("ls", "--json", home=home).ok().documents
        if document["repo"] == "me/mine"
    ]
    assert (line["revision"], line["refs"]) == (shown["revision"], ["main"])
    assert line["manifest"] == shown["manifest"]
    (other,) = inside("ls", "me/o*", "--json", home=home).ok().documents
    assert other["repo"] == "me/other"


_EACH = """
import contextlib, io, json, sys
from outlast.cli.main import main

ends = []
for arguments in json.loads(sys.argv.pop()):
    sys.argv[1:] = arguments
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as end:
            ends.append([end.code, err.getvalue()])
print(json.dumps(ends))
"""


def as_unprivileged(
    *commands: Sequence[str], home: Path, env: Mapping[str, str]
) -> list[tuple[int, str]]:
    """Runs commands one after the other, as a user without rights; status and stderr of each."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv, to become another user")
    user = (f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups")
    done = subprocess.run(
        ["setpriv", *user, "--", sys.executable, "-c", _EACH, json.dumps(commands)],
        env={**environment(home), **env},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd="/",
    )
    if "No module named" in done.stderr or "Permission denied: '" + sys.prefix in done.stderr:
        pytest.skip("another user cannot reach this Python")
    if done.returncode in {126, 127}:
        pytest.skip(f"another user cannot run this Python: {done.stderr.strip()[-100:]}")
    assert done.returncode == 0, done.stderr
    return [(code, err) for code, err in json.loads(done.stdout)]


@pytest.fixture
def readable(home: Path) -> Iterator[Path]:
    """The archive where another user may read it but not write."""
    folder = Path("/tmp") / f"outlast-test-{os.getpid()}-{home.name}"  # noqa: S108 - root's alone
    folder.mkdir(mode=0o755)
    shutil.copytree(home / "archive", folder / "archive")
    os.chmod(folder / "archive", 0o755)  # noqa: S103 - another user is to read it
    yield folder
    shutil.rmtree(folder)


def _words(*commands: str) -> list[list[str]]:
    return [command.split() for command in commands]


@pytest.mark.rootonly
def test_a_read_only_archive_can_be_read(readable: Path) -> None:
    before = tree(readable)
    commands = _words("ls", "show me/mine", "verify")
    for code, err in as_unprivileged(*commands, home=readable, env={"HOME": "/nonexistent"}):
        assert code == 0, err
    assert tree(readable) == before


@pytest.mark.rootonly
def test_a_read_only_archive_is_not_written(readable: Path) -> None:
    before = tree(readable)
    commands = _words(
        "rm me/mine", "gc", "add /etc/hostname --as me/x", "link me/mine", "pull org/name"
    )
    for code, err in as_unprivileged(*commands, home=readable, env={"HOME": "/nonexistent"}):
        assert code in {5, 8}, err
        assert err.splitlines()[-1].startswith("outlast: error[")
    assert tree(readable) == before
    check_archive(readable / "archive")


@pytest.mark.rootonly
def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    env = dict.fromkeys(("HOME", "HF_HOME", "XDG_CONFIG_HOME"), "/nonexistent")
    commands = [
        ["add", "/etc/hostname", "--as", "me/x", "--home", archive]
        for archive in ("/nonexistent/archive", "/root/archive", "/proc/1/archive")
    ]
    for code, err in as_unprivileged(*commands, home=tmp_path, env=env):
        assert code == 8, err
        assert err.startswith("outlast: error[storage]:")
        assert err.count("\n") == 1


@pytest.mark.rootonly
def test_a_user_without_a_home(tmp_path: Path) -> None:
    env = {
        "HOME": "",
        "XDG_DATA_HOME": "",
        "OUTLAST_HOME": "",
        "HF_HOME": "",
        "XDG_CONFIG_HOME": "",
    }
    [(code, err)] = as_unprivileged(["ls"], home=tmp_path, env=env)
    assert code in {2, 3, 8}, err


def test_the_installed_command(home: Path) -> None:
    script = Path(sysconfig.get_path("scripts")) / "outlast"
    if not script.exists():
        pytest.skip("outlast is not installed here")
    done = subprocess.run(
        [script, "ls", "--json"], env=environment(home), capture_output=True, check=True
    )
    assert {json.loads(line)["repo"] for line in done.stdout.splitlines()} == {
        "me/mine",
        "me/other",
    }
