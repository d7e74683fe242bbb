"""The end of the process, while daemon threads are still at work."""

import subprocess
import sys

import pytest

from tests.campaign import rounds

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
