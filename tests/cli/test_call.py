"""A command that a test runs inside its process says what one in a process of its own says, and
leaves nothing behind.
"""

import gc
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from outlast.codec import kernels
from tests.cli.call import inside, outlast, until
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import FILES


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "me/mine", "--json"],
        ["show", "org/\udcff\u202ename"],
        ["show", "me/absent", "--json"],
        ["doctor", "--no\npe"],
        [],
    ],
    ids=ascii,
)
def test_it_says_what_a_process_says(home: Path, arguments: list[str]) -> None:
    assert inside(*arguments, home=home) == outlast(*arguments, home=home, cwd=home)


def test_input_is_empty(home: Path) -> None:
    assert inside("run", "me/mine", home=home) == outlast("run", "me/mine", home=home, cwd=home)


def state() -> dict[str, Any]:
    """What a command could leave changed in this process."""
    loggers = logging.root.manager.loggerDict.values()
    kernels.use(path := kernels.use("portable"))
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "arguments": list(sys.argv),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "exceptions": (sys.excepthook, threading.excepthook),
        "garbage": (gc.get_threshold(), gc.isenabled()),
        "kernels": path,
        "threads": set(threading.enumerate()),
        "files": set(os.listdir("/proc/self/fd")),
        "loggers": {
            logger.name: (logger.level, list(logger.handlers), logger.propagate)
            for logger in loggers
            if isinstance(logger, logging.Logger)
        },
    }


def changed(before: dict[str, Any]) -> set[str]:
    """What is not as it was. A thread, and its files, may end a little later than its command."""
    now = state()
    fewer = {key for key in ("threads", "files") if now[key] <= before[key]}
    return {key for key, value in now.items() if value != before[key]} - fewer


def commands(home: Path, hub: str) -> list[list[str]]:
    return [
        ["--help"],
        ["ls"],
        ["nope"],
        ["show", "me/absent", "--json"],
        ["--debug", "verify"],
        ["pull", "org/name", "--from", hub],
        ["pull", "org/absent", "--from", hub, "--debug"],
        ["pull", "org/name", "--from", "http://127.0.0.1:9"],
        ["add", str(home / "folder"), "--as", "me/new"],
        ["share", "me/new", "--out", str(home / "out"), "--blobs"],
        ["search", "x", "--from", "peer:127.0.0.1:9"],
        ["link", "me/mine", "--folder", str(home / "laid")],
        ["pack"],
        ["rm", "me/mine"],
        ["gc"],
        ["doctor", "--rebuild"],
    ]


def test_nothing_stays_behind(home: Path) -> None:
    env = {"OUTLAST_SIMD": "portable", "COLUMNS": "60"}
    HubRepo(home / "hub", "org/name").commit(FILES)
    with HubSim(home / "hub") as hub:
        for command in commands(home, hub.url):
            inside(*command, home=home, env=env)  # what it imports stays
            before = state()
            inside(*command, home=home, env=env)
            until(lambda: not changed(before), f"{command}: all is as it was", seconds=30)  # noqa: B023
