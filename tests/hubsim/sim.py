"""HubSim: a hub to start from a test, as a process of its own or in a thread."""

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from tests.hubsim.faults import RuleJson
from tests.hubsim.log import LogEntry
from tests.hubsim.repo import HubRepo, Kind
from tests.hubsim.server import Hub, Options

_TOP = Path(__file__).resolve().parents[2]
_START_SECONDS = 30.0


class HubSim:
    """A context manager around one hub. All arguments but `mode` are those of `Options`."""

    def __init__(
        self,
        root: Path | str,
        *,
        mode: Literal["process", "thread"] = "process",
        **options: Any,
    ) -> None:
        self.root = Path(root)
        self.url = ""
        self.cdn_url = ""
        self._mode = mode
        self._options = Options(root=self.root, **options)
        self._running: _Process | _Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the hub; after stop or kill it comes back on the same ports."""
        assert self._running is None, "already running"
        options = dict(_fields(self._options))
        if self.url:
            options["port"] = urlsplit(self.url).port
            options["cdn_port"] = urlsplit(self.cdn_url).port
        kind = _Process if self._mode == "process" else _Thread
        self._running = kind(Options(**options))
        self.url, self.cdn_url = self._running.wait()

    def stop(self) -> None:
        """Stop it in good order; open connections are closed."""
        if self._running is not None:
            self._running.end()
            self._running = None

    def kill(self) -> None:
        """End it at once, in the middle of whatever it sends (a thread: as fast as it can)."""
        if self._running is not None:
            self._running.end(kill=True)
            self._running = None

    @property
    def pid(self) -> int | None:
        """The process id, for reading its processor time; None in a thread."""
        return self._running.process.pid if isinstance(self._running, _Process) else None

    def repo(self, repo_id: str, *, kind: Kind = "model", **options: Any) -> HubRepo:
        """Open or make a repo under this hub's root."""
        return HubRepo(self.root, repo_id, kind=kind, **options)

    def requests(self, **equal: Any) -> list[LogEntry]:
        """The log, oldest first; `equal` filters by fields, as in requests(what="resolve")."""
        entries = [LogEntry(**entry) for entry in self._control("GET", "log")]
        return [one for one in entries if all(getattr(one, k) == v for k, v in equal.items())]

    def clear_log(self) -> None:
        self._control("DELETE", "log")

    def set_faults(self, rules: list[RuleJson]) -> None:
        """Replace all rules, and start counting again. ValueError for a rule that is wrong."""
        self._control("POST", "faults", rules)

    def add_fault(self, **rule: Any) -> None:
        """Put one more rule behind the others; all counts start again."""
        self.set_faults([*(given for given, _ in self._control("GET", "faults")), rule])

    def fault_hits(self) -> list[tuple[str, int]]:
        """Each rule's action and how often it was applied."""
        return [(given["action"], hits) for given, hits in self._control("GET", "faults")]

    def advance_clock(self, seconds: float) -> None:
        """Let the hub believe that time has passed: signed URLs get older."""
        self._control("POST", "clock", {"advance": seconds})

    def _control(self, method: str, name: str, value: Any = None) -> Any:
        data = None if value is None else json.dumps(value).encode()
        headers = {"Content-Type": "application/json"}
        url = f"{self.url}/_sim/{name}"
        request = urllib.request.Request(url, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_START_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(json.load(error)["error"]) from None


class _Process:
    """A hub in a process of its own."""

    def __init__(self, options: Options) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hubsim-")
        self._port_file = Path(self._folder.name) / "ports.json"
        command = [sys.executable, "-m", "tests.hubsim", "--port-file", str(self._port_file)]
        for name, value in _fields(options).items():
            flag = f"--{name.replace('_', '-')}"
            if value is True:
                command.append(flag)
            elif value not in (None, False, []):
                text = json.dumps(value) if name == "faults" else str(value)
                command.append(f"{flag}={text}")
        self.process = subprocess.Popen(
            [*command, "--stop-on-eof"], cwd=_TOP, stdin=subprocess.PIPE
        )

    def wait(self) -> tuple[str, str]:
        deadline = time.monotonic() + _START_SECONDS
        while not self._port_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.end(kill=True)
                raise RuntimeError("the hub did not start")
            time.sleep(0.01)
        ports = json.loads(self._port_file.read_bytes())
        return ports["hub"], ports["cdn"]

    def end(self, *, kill: bool = False) -> None:
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.communicate()
        self._folder.cleanup()


class _Thread:
    """A hub in an event loop of its own, in a thread of this process."""

    def __init__(self, options: Options) -> None:
        self._ready = threading.Event()
        self._urls: tuple[str, str] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(options,), daemon=True)
        self._thread.start()

    def wait(self) -> tuple[str, str]:
        self._ready.wait(_START_SECONDS)
        if self._urls is None:
            raise RuntimeError("the hub did not start")
        return self._urls

    def end(self, *, kill: bool = False) -> None:
        del kill
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_SECONDS)

    def _run(self, options: Options) -> None:
        try:
            asyncio.run(self._serve(options))
        finally:
            self._ready.set()

    async def _serve(self, options: Options) -> None:
        self._loop = asyncio.get_running_loop()
        async with Hub(options) as hub:
            self._urls = hub.url, hub.cdn_url
            self._ready.set()
            await self._stop.wait()


def _fields(options: Options) -> dict[str, Any]:
    return {name: getattr(options, name) for name in Options.__dataclass_fields__}
