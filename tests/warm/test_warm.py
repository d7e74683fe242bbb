"""The processes that are forked for the tests behave as those of an interpreter of their own."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.node import Node, environment, until
from tests.warm import Child, Forker, Order, start

_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows processes in /proc")
_DRAW = """
import json, random, secrets, tempfile, uuid
from outlast.fetch import source_state
with tempfile.NamedTemporaryFile() as file:
    values = {
        "random": random.random(),
        "fresh": random.Random().random(),
        "secrets": secrets.token_hex(),
        "uuid1": uuid.uuid1().hex,
        "uuid4": uuid.uuid4().hex,
        "tempfile": file.name,
        "retries": source_state._random.random(),
    }
print(json.dumps(values))
"""
_OPEN = """
import json, os
found = sorted(os.listdir("/proc/self/fd"), key=int)
print(json.dumps([number for number in found if os.path.exists(f"/proc/self/fd/{number}")]))
"""
_PARENT = """
import json, sys
from tests.warm import Order, start
child = start(Order(**json.loads(sys.argv[1])), sys.stderr, sys.stderr)
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def children() -> Iterator[list[Child]]:
    """What a test puts in ends with it."""
    begun: list[Child] = []
    yield begun
    for child in begun:
        child.close()


def serving(folder: Path) -> Order:
    (folder / "home").mkdir(exist_ok=True)
    command = ["serve", "--listen", "127.0.0.1:0", "--home", str(folder / "home")]
    return Order(command, environment(folder))


@pytest.mark.parametrize("arguments", [["show", "org/none"], ["nonsense"]], ids=["error", "usage"])
def test_a_command_says_and_returns_the_same(
    tmp_path: Path, arguments: list[str], children: list[Child]
) -> None:
    env = environment(tmp_path, {"OUTLAST_HOME": str(tmp_path / "home")})
    command = [sys.executable, "-m", "outlast", *arguments]
    alone = subprocess.run(command, env=env, capture_output=True, check=False)
    forked = start(Order(arguments, env))
    children.append(forked)
    said = forked.stdout.read(), forked.stderr.read()
    assert (forked.wait(60), *said) == (alone.returncode, alone.stdout, alone.stderr)
    assert alone.returncode > 0
    assert alone.stderr


def test_each_knows_its_own_settings(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("secret\n")
    with Node(tmp_path / "one", "--tokens", str(tokens)) as one, Node(tmp_path / "two") as two:
        assert (one.get("/api/models").status, two.get("/api/models").status) == (401, 200)
        assert one.process is not None
        assert two.process is not None
        assert one.process.poll() is None
        one.process.send_signal(signal.SIGKILL)
        assert one.process.wait(60) == -signal.SIGKILL
        assert two.get("/healthz").status == 200
        assert two.stop() == 0


def test_what_is_drawn_by_chance_differs(tmp_path: Path, children: list[Child]) -> None:
    order = Order([], environment(tmp_path), run="builtins:exec", given=[_DRAW])
    children += [start(order), start(order)]
    one, two = (json.loads(child.stdout.read()) for child in children)
    assert [child.wait(60) for child in children] == [0, 0]
    assert one.keys() == two.keys()
    assert not [name for name in one if one[name] == two[name]]


def test_output_goes_to_files(tmp_path: Path, children: list[Child]) -> None:
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        children.append(start(Order(["show", "org/none"], environment(tmp_path)), out, err))
        children.append(start(Order(["--version"], environment(tmp_path)), out, err))
        assert [child.wait(60) for child in children] == [3, 0]
    assert (tmp_path / "out").read_bytes().startswith(b"outlast, version")
    assert b"not-found" in (tmp_path / "err").read_bytes()


def test_it_works_in_its_folder_and_writes_no_bytecode(
    tmp_path: Path, children: list[Child]
) -> None:
    (tmp_path / "made.py").write_text("X = 1\n")
    code = "import os, sys; sys.path.insert(0, os.getcwd()); import made; print(os.getcwd())"
    for env, kept in ({"PYTHONDONTWRITEBYTECODE": "1"}, False), ({}, True):
        order = Order([], env, str(tmp_path), run="builtins:exec", given=[code])
        children.append(start(order))
        assert children[-1].stdout.read() == f"{tmp_path}\n".encode()
        assert children[-1].wait(60) == 0
        assert (tmp_path / "__pycache__").exists() is kept


def test_waiting_ends_in_time_and_an_end_is_kept(tmp_path: Path, children: list[Child]) -> None:
    child = start(serving(tmp_path))
    children.append(child)
    assert child.stdout.readline().startswith(b"http://")
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.01)
    assert child.poll() is None
    child.terminate()
    assert child.wait(60) == 0
    assert child.poll() == child.returncode == child.wait(0) == 0
    child.kill()  # nothing is left to be killed


@_LINUX
def test_it_holds_nothing_of_others(tmp_path: Path, children: list[Child]) -> None:
    """Else a pipe stays open when its own process has closed it."""
    children.append(start(serving(tmp_path)))
    assert children[0].stdout.readline().startswith(b"http://")
    order = Order([], environment(tmp_path), run="builtins:exec", given=[_OPEN])
    children.append(start(order))
    assert json.loads(children[1].stdout.read()) == ["0", "1", "2"]
    assert children[1].wait(60) == 0


def test_it_does_not_outlive_the_process_that_forks(tmp_path: Path, children: list[Child]) -> None:
    forker = Forker()
    child = forker.start(serving(tmp_path))
    children.append(child)
    assert child.stdout.readline().startswith(b"http://")
    forker.close()
    assert child.wait(60) == -signal.SIGKILL
    assert child.stdout.read() == b""


@_LINUX
def test_it_does_not_outlive_the_tests(tmp_path: Path) -> None:
    order = serving(tmp_path)
    about = json.dumps({"arguments": order.arguments, "env": order.env})
    log = tmp_path / "log"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-c", _PARENT, about],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
        ) as tests,
    ):
        assert tests.stdout is not None
        pid = int(tests.stdout.readline())
        until(lambda: b"http://" in log.read_bytes(), "it serves")
        tests.kill()
    until(lambda: not Path(f"/proc/{pid}/exe").exists(), "it is gone")
