"""Some days of watching in simulated time, in a process of its own, whose memory is measured."""

import json
import resource
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from bench.watch.hub import COUNTS, DELETED
from outlast.core.control import Control
from outlast.features.watch.changes import Change
from outlast.features.watch.follows import parse_follows
from outlast.features.watch.holdings import HeldModels
from outlast.features.watch.memory import Memory
from outlast.features.watch.polls.asking import Context
from outlast.features.watch.watch import Lookout, watch_once
from outlast.sources.http import HttpClient
from outlast.sources.hub_watch import HubWatch
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive

HOUR = 3600.0
START = 21_990 * 24 * HOUR
SETTLING = 72
"""Hours until everything was looked at, and is spread over its period."""
QUIET = 48
"""Hours in which nothing changes, and requests are counted."""
LONGEST = 72
"""Hours after which a change should have been noticed."""
CHANGED = 10


class Days:
    """Watches `follows` at the hub, an hour after the other."""

    def __init__(self, folder: Path, http: HttpClient, url: str, follows: str) -> None:
        self._url = url
        self._now = START
        self._archive = Archive(folder, create=True)
        self._memory = Memory.open(folder)
        listed = parse_follows(follows.encode(), "follows.txt", "")
        self._lookout = Lookout(
            context=Context(self._memory, Control(), lambda: self._now, lambda _seconds: None),
            hubs=[HubWatch(http, url)],
            follows=lambda: listed,
            holdings=HeldModels(self._archive),
        )

    def hour(self) -> list[Change]:
        found: list[Change] = []
        watch_once(self._lookout, found.append)
        self._now += HOUR
        return found

    def close(self) -> None:
        self._memory.close()
        self._archive.close()


def ask(url: str) -> dict[str, int]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url) as answer:
        found: dict[str, int] = json.load(answer)
    return found


def measure(url: str, follows: str, changed: list[str]) -> dict[str, Any]:
    """Requests and bytes in two days without a change, hours until each deletion is noticed, and
    the memory of all of it.
    """
    with tempfile.TemporaryDirectory() as folder, HttpClient(HttpSettings()) as http:
        days = Days(Path(folder), http, url, follows)
        early = [change for _ in range(SETTLING) for change in days.hour()]
        before = ask(url + COUNTS)
        early += [change for _ in range(QUIET) for change in days.hour()]
        after = ask(url + COUNTS)
        for name in changed:
            ask(url + DELETED + name)
        hours: dict[str, int] = {}
        told = 0
        for hour in range(1, LONGEST + 1):
            for change in days.hour():
                told += 1
                hours.setdefault(str(change.repo), hour)
        days.close()
        size = (Path(folder) / "watch" / "watch.sqlite").stat().st_size
    return {
        "false_alerts": len(early),
        "requests_a_day": (after["requests"] - before["requests"]) / (QUIET / 24),
        "bytes_a_day": (after["sent"] - before["sent"]) / (QUIET / 24),
        "hours": [hours.get(name) for name in changed],
        "told": told,
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "database": size,
    }


if __name__ == "__main__":
    given = json.load(sys.stdin)
    print(json.dumps(measure(given["url"], given["follows"], given["changed"])))
