"""A server that runs for as long as a tool needs it: the gateway, or the API of one model."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final

from outlast.core.errors import EngineError, one_line

_TETHER: Final = "outlast.features.gateway.launch.tether"
_LONGEST_LINE: Final = 64 << 10
_TAIL: Final = 4096
"""Bytes of what the server said last, for the error where it does not start."""


@dataclass(frozen=True, slots=True)
class StartedServer:
    """Where it answers, as it says itself: `url` ends in ``/v1``; `model` is "" where it serves
    several: `routes` are the models of a gateway.
    """

    url: str
    model: str
    routes: tuple[str, ...] = ()


@contextmanager
def running(
    arguments: Sequence[str], environment: Mapping[str, str], key: str
) -> Iterator[StartedServer]:
    """Starts ``outlast ARGUMENT…``, gives it `key` on its stdin, waits until it says in a line of
    JSON where it answers, and ends it afterwards. It is no part of the terminal's foreground: a
    Ctrl-C for the tool is none for it. It ends with this process, however that ends. Raises
    :class:`EngineError` where it does not start.
    """
    theirs, ours = os.pipe()
    command = [sys.executable, "-m", _TETHER, str(theirs), sys.executable, "-m", "outlast"]
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                [*command, *arguments, "--json"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env=dict(environment),
                pass_fds=(theirs,),
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        try:
            _hand_over(process, key)
            yield _ready(process, said, arguments[0])
        finally:
            os.close(ours)
            assert process.stdout is not None
            process.stdout.close()
            process.wait()


def _hand_over(process: "subprocess.Popen[bytes]", key: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(key.encode() + b"\n")
        process.stdin.close()
    except BrokenPipeError:  # it ended: what it said tells why
        return


def _ready(process: "subprocess.Popen[bytes]", said: IO[bytes], name: str) -> StartedServer:
    """Reads lines until one has a URL; other lines are events."""
    assert process.stdout is not None
    while line := process.stdout.readline(_LONGEST_LINE):
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(document, dict):
            continue
        if isinstance(document.get("url"), str):
            routes = document.get("routes")
            names = tuple(map(str, routes)) if isinstance(routes, list) else ()
            return StartedServer(document["url"], str(document.get("model", "")), names)
        if document.get("type") == "error":
            raise EngineError(str(document.get("message")), hint=str(document.get("hint", "")))
    said.seek(max(0, said.seek(0, os.SEEK_END) - _TAIL))
    lines = said.read().decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
    raise EngineError(f"'outlast {name}' did not start: {one_line(lines[-1])}")
