"""A real `outlast serve` in a process of its own, and the other commands that a test needs."""

import itertools
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from tests.hubsim.ask import Answer, ask
from tests.warm import Child, Order, start

SECONDS = 120.0
"""The longest that a test waits for something that has to happen: a limit against hanging."""
_numbers = itertools.count()


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """A clean environment: a home of its own, no proxies, nothing of the user's settings."""
    names = ("PATH", "LANG", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    own = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "NO_PROXY": "*",
        "OUTLAST_SWARM": "0",
    }
    return kept | own | dict(more or {})


def copied(home: Path, to: Path) -> Path:
    """A copy of the home of a server that runs: without what it writes of its own accord."""
    return Path(shutil.copytree(home, to, ignore=shutil.ignore_patterns("durability", "tmp")))


def outlast(home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Runs a command on the archive in `home`; what it printed. Fails where the command did."""
    with tempfile.TemporaryFile() as log:
        order = Order([*arguments, "--home", str(home)], environment(home.parent, env))
        process = start(order, stderr=log)
        try:
            with process.stdout:
                printed = process.stdout.read().decode()
            status = process.wait(SECONDS)
        finally:
            process.kill()
        if status:
            log.seek(0)
            raise RuntimeError(f"outlast {' '.join(arguments)}: {log.read().decode()[-4000:]}")
    return printed


def until(holds: Callable[[], object], what: str = "a condition") -> None:
    """Waits until `holds` is true; fails where it does not come true in time."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.01)


class Node:
    """`outlast serve` on the archive in `home`. Its stderr goes to a file, the same after
    a restart; `tuned` replaces constants of its modules, and fields of their `TUNING`, by their
    full names, before it starts; `sabotage` is Python that runs then, and `features` are handed in.
    """

    def __init__(
        self,
        home: Path,
        *flags: str,
        env: Mapping[str, str] | None = None,
        tuned: Mapping[str, Any] | None = None,
        sabotage: str = "",
        features: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.url = ""
        self.flags = flags
        self.log = home.with_name(f"{home.name}-{next(_numbers)}.log")
        self._env = env
        self._tuned = tuned or {}
        self._sabotage = sabotage
        self._features = list(features)
        self.process: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        assert self.process is None, "already running"
        self.home.mkdir(parents=True, exist_ok=True)
        command = ["serve", "--listen", "127.0.0.1:0", "--home", str(self.home), *self.flags]
        order = Order(command, environment(self.home.parent, self._env))
        if self._tuned or self._sabotage or self._features:
            given = [self._tuned, self._sabotage, self._features]
            order = replace(order, run="tests.serve.tuned:start", given=given)
        with self.log.open("a") as log:
            self.process = start(order, stderr=log)
        self.url = self.process.stdout.readline().decode().strip()
        if not self.url.startswith("http://127.0.0.1:"):
            self.kill()
            raise RuntimeError(f"serve did not start: {self.url!r} {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self.process is not None:
            self.process.close()
            self.process = None

    def stop(self, number: signal.Signals = signal.SIGTERM, within: float = SECONDS) -> int:
        """Sends a signal; the exit status. Fails where the process does not end in time."""
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(within)
        finally:
            self.kill()

    def get(self, path: str, method: str = "GET", body: str = "", **headers: str) -> Answer:
        """One request on a connection of its own."""
        return ask(self.url, path, method, body, **headers)

    def lines(self) -> list[str]:
        """Every whole line that it wrote to stderr."""
        return self.log.read_text(errors="surrogateescape").split("\n")[:-1]

    def access(self) -> list[dict[str, Any]]:
        """The access lines so far."""
        return [json.loads(line) for line in self.lines() if line.startswith("{")]

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; one that has none yet is 0."""
        text = self.get("/metrics").body.decode()
        values = [
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.split("{")[0].split(" ")[0] == name
        ]
        assert f"# TYPE {name} " in text, f"no metric {name}"
        return sum(values)


def pull(home: Path, hub: str, *targets: str) -> None:
    """Archives the targets from a hub."""
    for target in targets:
        outlast(home, "pull", target, "--from", hub, "--quiet")


def archived(node: Node, names: Sequence[str]) -> bool:
    """Whether all blobs with these sha256 are in the node's archive, in either form."""
    return all(
        (node.home / "blobs" / name[:2] / name).exists()
        or (node.home / "capsules" / name[:2] / f"{name}.olc").exists()
        for name in names
    )
