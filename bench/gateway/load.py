"""Asking a gateway: many at once by wrk, and one at a time with a clock."""

import http.client
import json
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.process import BenchError

HOW_TO_GET_WRK: Final = "wrk is not installed (Debian, Ubuntu: apt-get install wrk)"
_PATIENCE: Final = 60
_SCRIPT: Final = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
wrk.body = '{body}'
done = function(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""
_RESULT: Final = re.compile(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)")


@dataclass(frozen=True, slots=True)
class Door:
    """Where a model is asked for: the path of its chats on a port of this machine."""

    port: int
    path: str
    model: str
    key: str = "none"

    def body(self, *, stream: bool) -> str:
        """A request."""
        asked = {
            "model": self.model,
            "stream": stream,
            "messages": [{"role": "user", "content": "Say a word, sixteen times."}],
        }
        return json.dumps(asked)


def wrk_program() -> str | None:
    """Where wrk is, if it is installed."""
    return shutil.which("wrk")


def rate(
    door: Door,
    folder: Path,
    connections: int,
    seconds: int,
    *,
    stream: bool,
    lenient: bool = False,
) -> float:
    """Answers a second over so many connections; measured for longer where none comes in time.
    Raises :class:`BenchError` where one fails; `lenient`: those that do not come are not counted.
    """
    script = folder / f"ask-{door.port}-{door.model}-{stream}.lua"
    script.write_text(_SCRIPT.format(key=door.key, body=door.body(stream=stream)))
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s"]
    command += ["--timeout", f"{_PATIENCE}s", "-s", str(script)]
    command += [f"http://127.0.0.1:{door.port}{door.path}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = _RESULT.search(said)
    if found is None:
        raise BenchError(f"wrk says nothing of its result: {said[-500:]}")
    count, microseconds, refused, broken = (int(found[i]) for i in range(1, 5))
    if refused or (broken and not lenient):
        raise BenchError(f"{refused} answers of {count} are errors, {broken} did not come")
    if not count:
        if seconds >= _PATIENCE:
            raise BenchError(f"there was no answer in {seconds} s")
        more = 2 * seconds
        return rate(door, folder, connections, more, stream=stream, lenient=lenient)
    return count / microseconds * 1e6


@dataclass
class Asker:
    """One connection to a door. Times are seconds."""

    door: Door

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.door.port, timeout=60)
        self._headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self.door.key}",
        }

    def whole(self) -> float:
        """How long an answer takes."""
        began = time.perf_counter()
        self._ask(stream=False).read()
        return time.perf_counter() - began

    def first(self) -> float:
        """How long the first token of a stream takes; the rest is read, too."""
        began = time.perf_counter()
        answer = self._ask(stream=True)
        took = 0.0
        while line := answer.readline():
            if not took and b'"content": "' in line.replace(b'":"', b'": "'):
                took = time.perf_counter() - began
        if not took:
            raise BenchError("the answer has no token")
        return took

    def chunks(self) -> list[float]:
        """How long each chunk of the provider that takes its time was under way."""
        answer = self._ask(stream=True)
        found = []
        while line := answer.readline():
            now = time.monotonic_ns()
            sent = re.search(rb'"content": ?"(\d+) "', line)
            if sent is not None:
                found.append((now - int(sent[1])) / 1e9)
        return found

    def _ask(self, *, stream: bool) -> http.client.HTTPResponse:
        self._connection.request(
            "POST", self.door.path, self.door.body(stream=stream), self._headers
        )
        answer = self._connection.getresponse()
        if answer.status != 200:
            raise BenchError(f"{answer.status}: {answer.read(500)!r}")
        return answer

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()
