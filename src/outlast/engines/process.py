"""The outside of a worker process: starts it, talks to it, says why it died, and ends it."""

import collections
import contextlib
import json
import logging
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError
from outlast.engines.sealing import NAMESPACE
from outlast.engines.tuning import TUNING, Tuning
from outlast.engines.worker import FOLDER_PREFIX

Log = Callable[[str], None]
"""Receives the engine's own log, a line at a time, from another thread. Must not raise."""
Waits = Callable[[float], object]
"""Receives for how many seconds a model has been loading, about once a second. How much of it is
loaded, no engine says."""

# Bytes of the path in a socket's address, without the last: 108 on Linux, 104 on BSD and macOS.
_SOCKET_PATH = 103
_RECEIVED_PACKETS, _SENT_PACKETS = 1, 9
_log = logging.getLogger(__name__)
_LOUD = re.compile(r"ASSERT|ABORT|[Ee]rror|ERROR|^[\d.]+ E ")
_PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class TooSlowError(Exception):
    """A worker did not answer by the deadline."""


class Worker:
    """A process that runs ``<module>.main()`` in a private, empty folder, :attr:`folder`.

    It gets a session of its own: Ctrl-C at the terminal reaches the parent alone, which decides.
    One that is `sealed` leaves all networks before it loads anything (:mod:`.sealing`), or ends.
    """

    def __init__(
        self,
        module: str,
        engine: str,
        log: Log | None = None,
        tuning: Tuning = TUNING,
        *,
        sealed: bool = False,
    ) -> None:
        if not sys.executable:
            raise EngineError("engines need the Python interpreter's path, which is unknown here")
        self._engine = engine
        self._tuning = tuning
        self._listener = log
        self._lines: collections.deque[str] = collections.deque(maxlen=tuning.log_lines)
        self._buffer = bytearray()
        self._sealed = sealed
        self._counters = -1
        self._folder = -1
        self.sealed_by: tuple[str, ...] = ()
        self.folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
        # -P: the folder that the user happens to be in must not lend its modules.
        code = f"import sys; sys.path.append({_PACKAGE_ROOT!r}); import {module} as m; m.main()"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        _log.debug("%s: the worker %d runs in %s", engine, self._process.pid, self.folder)
        self._drainer = threading.Thread(target=self._drain, daemon=True)
        self._drainer.start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> Sequence[str]:
        """The last lines that the engine logged."""
        return list(self._lines)

    def start(
        self,
        config: Mapping[str, Any],
        cancel: Cancel,
        links: Mapping[str, str],
        limit: Callable[[], float | None] = lambda: None,
        waits: Waits = bool,
    ) -> dict[str, Any]:
        """Loads the model; returns what the worker says of it. `links` maps names in the worker's
        folder to files; `limit` tells the time (of :func:`time.monotonic`) by which it has to be
        ready, once that is known. Ends the worker where loading fails: raises
        :class:`EngineError`, :class:`TooSlowError`, or :class:`Cancelled` once `cancel` is set.
        """
        try:
            for name, path in links.items():
                os.symlink(os.path.abspath(path), os.path.join(self.folder, name))
            self.send({"config": config, "sealed": self._sealed})
            event = self._first_event(cancel, limit, waits)
        except BaseException:
            self.stop(grace=0)
            raise
        if "ready" in event:
            ready: dict[str, Any] = event["ready"]
            self.sealed_by = tuple(map(str, event.get("sealed_by", ())))
            if self._sealed and not self.sealed_by:
                self.stop(grace=0)
                raise EngineError(f"{self._engine} did not leave the network")
            if NAMESPACE in self.sealed_by:
                self._counters = os.open(f"/proc/{self._process.pid}/net/dev", os.O_RDONLY)
            return ready
        # It ends by itself, and its last words, which tell why, are still on their way.
        self.stop(grace=self._tuning.last_words_seconds)
        raise EngineError(str(event.get("failed")), hint=str(event.get("hint", "")))

    def socket_path(self, name: str) -> str:
        """The path of the socket `name` in its folder, short enough for a socket's address."""
        path = os.path.join(self.folder, name)
        if len(os.fsencode(path)) <= _SOCKET_PATH:
            return path
        # The folder for temporary files lies too deep: the kernel knows a shorter way there.
        if self._folder < 0:
            self._folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._folder}/{name}"

    @property
    def packets(self) -> int | None:
        """Packets that left or reached the worker in a network namespace of its own; None where it
        has none, so that they cannot be counted.
        """
        if self._counters < 0:
            return None
        return count_packets(os.pread(self._counters, 65_536, 0).decode("ascii", "replace"))

    def _first_event(
        self, cancel: Cancel, limit: Callable[[], float | None], waits: Waits
    ) -> dict[str, Any]:
        began = time.monotonic()
        while True:
            now = time.monotonic()
            waits(now - began)
            end = limit()
            if end is not None and now > end:
                raise TooSlowError
            with contextlib.suppress(TooSlowError):
                return self.receive(cancel, now + 1)

    def send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self.failure() from None

    def receive(self, cancel: Cancel, deadline: float | None = None) -> dict[str, Any]:
        """The worker's next event. Raises :class:`Cancelled` once `cancel` is set,
        :class:`TooSlowError` at `deadline` (of :func:`time.monotonic`), and :class:`EngineError`
        when the worker has died.
        """
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        while (end := self._buffer.find(b"\n")) < 0:
            cancel.check()
            if deadline is not None and time.monotonic() > deadline:
                raise TooSlowError
            if not poller.poll(self._tuning.poll_seconds * 1000):
                continue
            data = os.read(descriptor, 65_536)
            if not data or len(self._buffer) > self._tuning.event_bytes:
                raise self.failure()
            self._buffer += data
        cancel.check()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        event: dict[str, Any] = json.loads(line)
        return event

    def failure(self) -> EngineError:
        """Why the worker died, as far as it can be told. Ends what is left of it."""
        self.stop(grace=0.5)
        status = self._process.returncode
        how = f"exit status {status}"
        if status < 0:
            how = f"signal {signal.Signals(-status).name}"
        lines = [line for line in self._lines if line.strip()]
        loud = [line for line in lines if _LOUD.search(line)]
        reason = (loud or lines or ["no message"])[-1]
        return EngineError(
            f"{self._engine} ended unexpectedly ({how}): {reason.strip()}",
            hint="the file may be damaged ('outlast verify') or need more memory than there is",
        )

    def stop(self, grace: float | None = None) -> None:
        """Ends the worker, by force after `grace` seconds (None: as tuned). May be called again."""
        if grace is None:
            grace = self._tuning.grace_seconds
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        if grace > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        if process.poll() is None:
            _log.debug("%s: the worker %d is killed", self._engine, process.pid)
            process.kill()
            process.wait()
        # Only a grandchild that kept the pipe could make this wait.
        self._drainer.join(grace + 1)
        process.stdout.close()
        for descriptor in (self._counters, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._counters = self._folder = -1
        shutil.rmtree(self.folder, ignore_errors=True)

    def _drain(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            while raw := stream.readline(self._tuning.log_line_bytes):
                line = raw.decode("utf-8", "replace").rstrip("\n")
                self._lines.append(line)
                if self._listener is not None:
                    self._listener(line)


def count_packets(text: str) -> int:
    """The packets that all interfaces of a ``/proc/PID/net/dev`` received and sent."""
    total = 0
    for line in text.splitlines():
        _, colon, numbers = line.partition(":")
        values = numbers.split()
        if colon and len(values) > _SENT_PACKETS:
            total += int(values[_RECEIVED_PACKETS]) + int(values[_SENT_PACKETS])
    return total
