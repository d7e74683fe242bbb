"""The structured log of what the hub was asked and what it answered."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO


@dataclass(slots=True)
class LogEntry:
    """One request of an address. `sent` counts body bytes handed to the kernel; `fault` is the
    action applied; `beside` are the requests that were not at their end when it came.
    """

    index: int
    listener: str
    method: str
    path: str
    query: str
    what: str
    range: str | None = None
    repo: str = ""
    file: str = ""
    commit: str = ""
    status: int = 0
    sent: int = 0
    fault: str | None = None
    has_auth: bool = False
    user_agent: str = ""
    client: str = ""
    done: bool = False
    beside: int = 0


class RequestLog:
    """Entries in the order of the requests; finished ones are appended to the file, if given."""

    def __init__(self, path: Path | None = None) -> None:
        self.entries: list[LogEntry] = []
        self._next = self._open = 0
        self._file: TextIO | None = path.open("a", buffering=1) if path else None

    def begin(self, entry: LogEntry) -> None:
        entry.index = self._next
        self._next += 1
        entry.beside = self._open
        self._open += 1
        self.entries.append(entry)

    def finish(self, entry: LogEntry) -> None:
        entry.done = True
        self._open -= 1
        if self._file is not None:
            self._file.write(json.dumps(asdict(entry)) + "\n")

    def clear(self) -> None:
        self.entries.clear()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
