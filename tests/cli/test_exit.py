"""The end of the process: while daemon threads are at work, and while it still starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign import rounds
from tests.cli.call import SECONDS, environment

_SCRIPT = """
import threading
from outlast import __main__ as program
from outlast.codec import merkle
from outlast.codec.merkle import PIECE

busy = threading.Semaphore(0)

def work():
    piece = memoryview(bytearray(PIECE))
    while True:
        merkle.piece_hash(piece)
        busy.release()

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
for _ in range(8):
    busy.acquire()
program.run()
"""


@pytest.mark.torture
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [(["--version"], 0, "outlast, version"), (["ls", "--colour"], 2, "error[usage]")],
)
def test_a_thread_in_native_code_does_not_abort_it(
    arguments: list[str], status: int, said: str
) -> None:
    for _ in range(rounds(3, 20)):
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stderr
        assert said in done.stdout + done.stderr
        assert "terminate" not in done.stderr


_ENDED_EARLY = """
import os
import signal
from outlast import __main__ as program
from outlast.app import open_app
from outlast.cli import serve

def opened(*given, **more):
    os.kill(os.getpid(), signal.SIGTERM)
    return open_app(*given, **more)

serve.open_app = opened
program.run()
"""


def test_a_signal_ends_a_server_that_does_not_listen_yet(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _ENDED_EARLY, "serve", "--listen", "127.0.0.1:0"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


_INTERRUPTED = """
import os
import signal
import sys

module = sys.argv[1]

class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
from outlast.__main__ import run
sys.argv[1:] = ["ls"]
run()
"""


@pytest.mark.parametrize(
    "module", ["outlast.cli.feature", "outlast.cli.main", "outlast.features", "outlast.cli.edge"]
)
def test_ctrl_c_while_it_still_imports(module: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, module],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    said = "outlast: error[cancelled]: interrupted (hint: run the same command again)\n"
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.lstrip("\n") == said  # the parser ends the line that has ^C
