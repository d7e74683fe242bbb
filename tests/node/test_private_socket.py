"""Sockets that only their user reaches: one that has a name listens, so none is swept too soon."""

import multiprocessing
import socket
import stat
from multiprocessing.synchronize import Event
from pathlib import Path

from outlast.node.private_socket import make_folder, private_socket, sweep


def _sweep_always(path: Path, sweeps: Event, ends: Event) -> None:
    while not ends.is_set():
        sweep(path)
        sweeps.set()


def test_none_is_swept_while_it_is_made(tmp_path: Path) -> None:
    make_folder(tmp_path / "s")
    path = tmp_path / "s" / "1.sock"
    spawn = multiprocessing.get_context("spawn")
    sweeps, ends = spawn.Event(), spawn.Event()
    sweeper = spawn.Process(target=_sweep_always, args=(path, sweeps, ends))
    sweeper.start()
    sweeps.wait()
    try:
        for _ in range(5000):
            with private_socket(path):
                assert path.exists()
    finally:
        ends.set()
        sweeper.join()
    assert not path.exists()


def test_it_is_its_users_alone(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    make_folder(folder)
    with private_socket(folder / "1.sock"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "1.sock").stat().st_mode) == 0o600
        assert [path.name for path in folder.iterdir()] == ["1.sock"]
    assert list(folder.iterdir()) == []


def test_that_of_a_process_which_died_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "1.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    sweep(path)
    assert not path.exists()


def test_one_that_was_killed_while_it_was_made_is_in_nobodys_way(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "1.new"))
    with private_socket(tmp_path / "1.sock"):
        assert [path.name for path in tmp_path.iterdir()] == ["1.sock"]
