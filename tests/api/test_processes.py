"""One archive, several processes."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import outlast
from tests.api.conftest import FILES
from tests.cli.call import environment
from tests.hubsim import HubSim
from tests.pull.kit import check_archive

SCRIPT = """
import sys
import outlast

number = sys.argv[1]
with outlast.open() as archive:
    print("open", flush=True)
    sys.stdin.readline()
    archive.pull("org/name", form="plain" if number == "0" else "capsule")
    archive.add("folder", f"me/number{number}")
    with archive.open_file("org/name", "words.bin") as file:
        print(len(file.read()), archive.verify("org/name").ok, flush=True)
"""


def test_two_at_once(tmp_path: Path, hub: HubSim, folder: Path) -> None:
    assert folder.is_dir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(number)],
            cwd=tmp_path,
            env=environment(tmp_path, HF_ENDPOINT=hub.url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            out, _ = process.communicate(timeout=120)
            assert process.returncode == 0
            assert out == f"{len(FILES['words.bin'])} True\n"
    finally:
        for process in processes:
            process.kill()
            process.wait()
    with outlast.open(tmp_path / "archive", configured=False) as archive:
        assert {line.repo for line in archive.list()} == {"org/name", "me/number0", "me/number1"}
        assert all(line.complete for line in archive.list())
    check_archive(tmp_path / "archive")


def test_no_copy_is_sent(mine: outlast.Archive) -> None:
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"outlast\.open"):
            take(mine)


FORK = """
import os, sys
import outlast

with outlast.open() as archive:
    archive.add("folder", "me/mine")
    file = archive.open_file("me/mine", "words.bin")
    file.read(1)
    child = os.fork()
    if not child:
        try:
            archive.list()
        except outlast.UsageError as error:
            print(error, error.hint, flush=True)
        archive.close()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(status, len(file.read()), archive.verify().ok)
"""


def test_after_a_fork(tmp_path: Path, folder: Path) -> None:
    """The child is told, and what it closes stays open for its parent."""
    assert folder.is_dir()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    said, result = done.stdout.splitlines()
    assert "another process" in said
    assert "outlast.open" in said
    assert result == f"0 {len(FILES['words.bin']) - 1} True"
