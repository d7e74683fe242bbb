"""The processes that are forked for the tests behave as those of an interpreter of their own."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.serve.node import Node, environment
from tests.warm import template


@pytest.mark.parametrize("arguments", [["show", "org/none"], ["nonsense"]], ids=["error", "usage"])
def test_a_command_says_and_returns_the_same(tmp_path: Path, arguments: list[str]) -> None:
    env = environment(tmp_path, {"OUTLAST_HOME": str(tmp_path / "home")})
    command = [sys.executable, "-m", "outlast", *arguments]
    alone = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    with tempfile.TemporaryFile("w+") as log:
        forked = template().start(arguments, env, log)
        with forked.stdout:
            printed = forked.stdout.read()
        status = forked.wait(60)
        log.seek(0)
        assert (status, printed, log.read()) == (alone.returncode, alone.stdout, alone.stderr)
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
