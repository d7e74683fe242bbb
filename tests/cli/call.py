"""Running `outlast` as a process, as its users do, in an environment of its own."""

import atexit
import contextlib
import gc
import io
import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from outlast.cli.main import main
from outlast.codec import kernels
from outlast.core.errors import all_errors
from outlast.features import FEATURES, Listed

COMMAND = (sys.executable, "-m", "outlast")
SECONDS = 120.0
Process = subprocess.Popen[bytes]
_started: list[Process] = []
_KEPT = ("PATH", "LANG", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
_ERROR = re.compile(r"outlast: error\[([a-z-]+)\]: (.+) \(hint: (.+)\)")
_EXIT_CODES = {error.code: error.exit_code for error in all_errors()}


@dataclass(frozen=True, slots=True)
class Call:
    """What a process said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[Any]:
        """stdout as JSON, a document a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def result(self) -> Any:
        return self.documents[-1]

    def of_type(self, kind: str) -> list[Any]:
        return [document for document in self.documents if document.get("type") == kind]

    def ok(self) -> "Call":
        """This call, which must have ended well."""
        assert self.code == 0, f"exit {self.code}: {self.err}"
        assert "Traceback" not in self.err
        return self

    def failed(self, *codes: str) -> str:
        """The message of the one error line that ends stderr. Its code is one of `codes`, and the
        exit status is the one that this code stands for.
        """
        assert "Traceback" not in self.err, self.err
        *events, last = self.err.splitlines() or [""]
        found = _ERROR.fullmatch(last)
        assert found is not None, f"exit {self.code}, not an error line: {self.err!r}"
        assert not any(line.startswith("outlast: error") for line in events), self.err
        assert self.err.endswith("\n")
        assert last.isprintable(), last
        assert found[1] in codes, last
        assert self.code == _EXIT_CODES[found[1]], last
        return found[2]


def environment(home: Path, **more: str) -> dict[str, str]:
    """A clean environment: a home folder of its own, an archive below it, no proxies."""
    kept = {key: os.environ[key] for key in _KEPT if key in os.environ}
    own = {
        "HOME": str(home),
        "OUTLAST_HOME": str(home / "archive"),
        "HF_HOME": str(home / "hf"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "OUTLAST_SWARM": "0",
    }
    return kept | own | more


def outlast(
    *arguments: str | Path,
    home: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Call:
    """Runs a command to its end; its archive is `home`/archive."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment(home, **(env or {})),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    return Call(done.returncode, done.stdout.decode(), done.stderr.decode())


def inside(
    *arguments: str | Path,
    home: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    features: Sequence[Listed] = FEATURES,
) -> Call:
    """Runs a command to its end inside this process, for a hundredth of the time: the way to run
    all but those of which the process is the point, as with a signal, a terminal or a pipe that
    closes. What it changes in this process is as before afterwards. A bug's exception comes out.
    """
    given = [str(argument) for argument in arguments]
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", newline="")
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", newline="")
    with (
        _as_before(),
        patch.dict(os.environ, environment(home, **(env or {})), clear=True),
        patch.object(sys, "argv", ["outlast", *given]),
        open(os.devnull) as nothing,
        patch.object(sys, "stdin", nothing),
        contextlib.chdir(cwd or home),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main(given, features)
    assert isinstance(ended.value.code, int)
    for stream in (out, err):
        stream.seek(0)
    return Call(ended.value.code, out.read(), err.read())


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """Takes back what a command sets for the rest of a process that is its own."""
    threshold = gc.get_threshold()
    logger = logging.getLogger("outlast")
    handlers = list(logger.handlers)
    kernels.use(path := kernels.use("portable"))
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        atexit.unregister(gc.freeze)
        logger.handlers[:] = handlers
        kernels.use(path)


def start(*arguments: str | Path, home: Path, env: Mapping[str, str] | None = None) -> Process:
    """Starts a command; pass what comes back to `finish`."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=environment(home, **(env or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    _started.append(process)
    return process


def end_all() -> None:
    """Ends what a test that failed left running."""
    while _started:
        process = _started.pop()
        if process.returncode is None:
            process.kill()
            process.communicate()


def finish(process: Process, seconds: float = SECONDS) -> Call:
    """Waits for the end of a command that was started; kills it where it does not come."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Call(process.returncode, out.decode(), err.decode())


def until(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Polls until `condition` is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.005)
