"""Three renderings of the same events: bars for a terminal, lines for a log, JSON for programs.

stdout is data, stderr the rest.
"""

import contextlib
import dataclasses
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from outlast.cli.documents.document import VERSION
from outlast.cli.screen.job_rate import JobRate, duration
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import one_line
from outlast.core.events import (
    Again,
    CacheDropped,
    Event,
    FileDone,
    FileMended,
    FileProblem,
    FileWaiting,
    Loading,
    Note,
    PeerPassedOver,
    Planned,
    Progress,
    Reformed,
    Removed,
    SourceBanned,
    SourceWaiting,
    SourceWithdrew,
    SuspectContent,
    TrainingStep,
    WatchNoticed,
)
from outlast.core.names import RepoId
from outlast.core.sizes import human_size

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from outlast.cli.documents.document import Document

_LINE_EVERY = 10.0
"""Seconds between lines of progress, where stderr is no terminal, and between events of progress
for programs."""
_GAP = "  "
"""Between two columns of a table."""
_LOG_LIMIT = 5000
"""Characters of a line of diagnostics."""


def saving(size: int, stored: int) -> str:
    """How much smaller `stored` is than `size`, in percent; a dash if it is not smaller."""
    return f"{100 * (1 - stored / size):.0f} %" if 0 <= stored < size else "-"


def saved_part(size: int, stored: int) -> float:
    """Which part of `size` the disk need not hold, from 0 to 1."""
    return round(max(0.0, 1 - stored / size), 4) if size else 0.0


def rate(count: float) -> str:
    """Bytes per second; a dash below 1."""
    return f"{human_size(count)}/s" if count >= 1 else "-"


def percent(part: int, whole: int) -> str:
    """The share of `part` in `whole`; 100 % only if it is complete."""
    if part >= whole:
        return "100 %"
    return f"{min(99, 100 * part // whole)} %"


def rate_and_left(job: JobRate) -> str:
    """``12.0 MB/s, 3 min 20 s left``; a dash in place of what nothing tells."""
    left = job.left()
    return f"{rate(job.rate() or 0)}, {'-' if left is None else duration(left)} left"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def jsonable(value: object) -> Any:
    """A value of ours as plain JSON types."""
    if isinstance(value, Digest | GitOid | RepoId | Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {
            field.metadata.get("name", field.name): jsonable(item)
            for field, item in found
            if item is not None or not field.metadata.get("omitted")
        }
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    return value


def print_document(document: "Document | Event") -> None:
    """A document or event as JSON on one line of stdout."""
    _print_json(_line(document))


def print_documents(documents: "Sequence[Document]") -> None:
    """Documents as one list on one line of stdout."""
    _print_json([_line(document) for document in documents])


def _line(document: "Document | Event") -> dict[str, Any]:
    kind = type_name(type(document)) if isinstance(document, Event) else document.type
    return {"type": kind, "v": VERSION, **jsonable(document)}


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def print_table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Aligned columns on stdout; columns numbered in `right` are right-aligned."""
    clean = [[one_line(cell) for cell in row] for row in rows]
    widths = _widths(clean)
    for row in clean:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        sys.stdout.write(_GAP.join(cells).rstrip() + "\n")


def table_width(rows: Sequence[Sequence[str]]) -> int:
    """Characters of the longest line of such a table."""
    widths = _widths([[one_line(cell) for cell in row] for row in rows])
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


class Screen:
    """Renders events. A context manager; on exit the bars stop. `clock` tells seconds."""

    def __init__(
        self, *, as_json: bool, quiet: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._json = as_json
        self._quiet = quiet
        self._clock = clock
        self._lock = threading.Lock()
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._planned: Planned | None = None
        self._job = JobRate(clock, 0)
        self._wait = ""
        self._printed = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.settle()

    def settle(self) -> None:
        """Ends the bars, which redraw the terminal and take what others print for their own: it
        belongs to the command from here on. Events are lines afterwards.
        """
        with self._lock:
            if self._bars is not None:
                self._bars.stop()
            self._bars = None

    def emit(self, event: Event) -> None:
        with self._lock:
            match event:
                case Planned():
                    self._plan(event)
                case Progress(count=count):
                    self._advance(count)
                case Again(count=count):
                    self._repeat(count)
                case Loading(seconds=seconds) if not self._is_due(seconds):
                    pass
                case TrainingStep() if not self._is_due(_LINE_EVERY) and event.step < event.steps:
                    pass
                case _ if self._json:
                    print_document(event)
                case FileWaiting() if self._bars is not None:
                    self._show_wait(_sentence(event) or "")
                case _ if not self._quiet and (text := _sentence(event)) is not None:
                    self._say(text)

    def _is_due(self, seconds: float) -> bool:
        """Whether to tell of what has taken so long, and tells of no progress."""
        now = self._clock()
        if seconds < _LINE_EVERY or now - self._printed < _LINE_EVERY:
            return False
        self._printed = now
        return True

    def log(self, text: str) -> None:
        """A line of diagnostics on stderr, above the bars: with --json and --quiet, too."""
        with self._lock:
            self._say(text, limit=_LOG_LIMIT)

    def _say(self, text: str, limit: int = 600) -> None:
        line = one_line(text, limit)
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            with contextlib.suppress(OSError, ValueError):  # stderr is closed
                sys.stderr.write(line + "\n")

    def _plan(self, event: Planned) -> None:
        self._planned = event
        self._job = JobRate(self._clock, event.total_bytes, event.present_bytes)
        self._printed = self._clock()
        if self._json:
            print_document(event)
            return
        if self._quiet:
            return
        if sys.stderr.isatty():
            self._start_bars(event)
            return
        size = human_size(event.total_bytes)
        here = f", {human_size(event.present_bytes)} here" if event.present_bytes else ""
        self._say(f"{event.job} {event.subject}: {plural(event.files, 'file')}, {size}{here}")

    def _start_bars(self, event: Planned) -> None:
        from outlast.cli.screen.bars import make_bars  # noqa: PLC0415 - slow, and for terminals

        if self._bars is None:
            self._bars = make_bars()
            self._bars.start()
        self._task = self._bars.add_task(
            one_line(f"{event.job} {event.subject}", 40),
            total=event.total_bytes or None,
            completed=event.present_bytes,
            wait="",
            rate=self._job,
        )

    def _show_wait(self, text: str) -> None:
        """Why nothing comes, beside the bar; until something comes."""
        if self._bars is not None and self._task is not None and text != self._wait:
            self._wait = text
            self._bars.update(self._task, wait=one_line(text, 80))

    def _advance(self, count: int) -> None:
        self._job.advance(count)
        if self._bars is not None and self._task is not None:
            self._show_wait("")
            self._bars.update(self._task, completed=self._job.done)
            return
        now = self._clock()
        if self._planned is None or now - self._printed < _LINE_EVERY:
            return
        self._printed = now
        if self._json:
            print_document(self._progress(self._planned))
        elif not self._quiet:
            total = self._planned.total_bytes
            share = f" of {human_size(total)} ({self._job.percent} %)" if total else ""
            self._say(f"  {human_size(self._job.done)}{share}, {rate_and_left(self._job)}")

    def _progress(self, planned: Planned) -> "Document":
        from outlast.cli.documents.progress import ProgressDocument  # noqa: PLC0415 - long work only

        speed, left = self._job.rate(), self._job.left()
        return ProgressDocument(
            job=planned.job,
            subject=planned.subject,
            done_bytes=self._job.done,
            total_bytes=planned.total_bytes,
            bytes_per_second=None if speed is None else round(speed),
            seconds_left=None if left is None else round(left),
        )

    def _repeat(self, count: int) -> None:
        self._job.repeat(count)
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=self._job.done)


def type_name(kind: type[Event]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


def _passed_over(path: str, peer: str, claim: str, others: int) -> str:
    who = f"{peer} and {others} others say" if others else f"{peer} says"
    verb = claim if not others else {"fetches": "fetch", "has": "have"}.get(claim, claim)
    it = "they" if others else "it"
    return f"{path}: {who} that {it} {verb} it, but nothing came: asking the hub"


def _dropped(event: CacheDropped) -> str:
    room = f"; {human_size(event.freed)} are free" if event.freed else ""
    return (
        f"dropped {event.repo}@{event.commit[:12]} for the {event.why}: least recently used{room}"
    )


def _sentence(event: Event) -> str | None:  # noqa: C901, PLR0911, PLR0912 - a line for each event
    """An event as a sentence for people; None if only the bars show it."""
    match event:
        case FileProblem(path, problem):
            return f"{path}: {problem}"
        case FileMended(path, _, _, fetched, source):
            came = f"{human_size(fetched)} from {source}" if source else "from what is here"
            return f"{path}: it was damaged, and is mended ({came})"
        case SuspectContent(path, _, reason):
            return f"warning: {path}: {reason}"
        case SourceBanned(source, path, reason):
            return f"source banned for this run: {source} ({path}: {reason})"
        case SourceWaiting(source, seconds, reason):
            return f"{reason}; asking {source} again in {seconds:.1f} s"
        case FileWaiting(path, waits_for, others):
            return f"{path}{f' and {others} more' if others else ''}: waiting for {waits_for}"
        case PeerPassedOver(path, peer, claim, others):
            return _passed_over(path, peer, claim, others)
        case Removed(what, name, size):
            return f"{what} {name}" + (f" ({human_size(size)})" if size else "")
        case CacheDropped():
            return _dropped(event)
        case Reformed(path, _, form, size, stored):
            return f"{path}: {form}, {human_size(size)} in {human_size(stored)}"
        case Loading(engine, size, seconds):
            since = f"for {duration(seconds)}; the time left is not known"
            return f"  loading {human_size(size)} into {engine} {since}"
        case TrainingStep(step, steps, loss, left):
            return f"  step {step:,} of {steps:,}, loss {loss:.3f}, {duration(left)} left"
        case WatchNoticed(kind, hub, repo, ref):
            return f"{hub}: {kind}{f': {repo}' if repo else ''}{f'@{ref}' if ref else ''}"
        case SourceWithdrew(reason=text) | Note(text):
            return text
        case FileDone() | _:
            return None
