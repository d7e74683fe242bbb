"""A look at hubs that ends with SIGKILL at its N-th step: a statement of SQL, a request, or an
alert that was sent.
"""

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from outlast.core.control import Control
from outlast.features.watch.changes import Change
from outlast.features.watch.changes_json import encode_change
from outlast.features.watch.follows import parse_follows
from outlast.features.watch.holdings import HeldModels
from outlast.features.watch.memory import Memory
from outlast.features.watch.polls.asking import Context
from outlast.features.watch.watch import Lookout, watch_once
from outlast.sources.http import HttpClient
from outlast.sources.hub_watch import HubWatch
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive

FOLLOWS = b"org/name\nacme/*\n"
TOLD, STEPS = "told.jsonl", "steps"


class Fuse:
    """Counts steps, and ends the process at the one that was chosen."""

    def __init__(self, number: int) -> None:
        self.count = 0
        self._number = number
        self._lock = threading.Lock()

    def burn(self, _what: str = "") -> None:
        with self._lock:
            self.count += 1
            if self.count == self._number:
                os.kill(os.getpid(), signal.SIGKILL)


class Teller:
    """Appends what it is told to a file."""

    name = "file"

    def __init__(self, path: Path, fuse: Fuse) -> None:
        self._path = path
        self._fuse = fuse

    def tell(self, changes: Sequence[Change]) -> None:
        self._fuse.burn()
        with self._path.open("a") as file:
            file.writelines(encode_change(change) + "\n" for change in changes)
        self._fuse.burn()


def look(folder: str, url: str, now: str, number: str) -> None:
    """Looks once at what is due at time `now`, and dies at step `number`. With 0 it comes to its
    end, and says how many steps there were.
    """
    base, fuse = Path(folder), Fuse(int(number))
    with (
        HttpClient(HttpSettings(read_timeout=20), fuse.burn) as http,
        Archive(base / "archive", create=True) as archive,
        Memory.open(base / "archive") as memory,
    ):
        memory._db.set_trace_callback(fuse.burn)
        context = Context(memory, Control(), lambda: float(now), lambda _seconds: None)
        watch_once(
            Lookout(
                context=context,
                hubs=[HubWatch(http, url, "hf_right")],
                follows=lambda: parse_follows(FOLLOWS, "follows.txt", ""),
                holdings=HeldModels(archive),
                channels=[Teller(base / TOLD, fuse)],
            )
        )
    if not int(number):
        (base / STEPS).write_text(str(fuse.count))
