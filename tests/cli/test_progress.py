"""Long work shows how fast it goes and how long the rest takes; Ctrl-C says how to go on."""

import io
import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from outlast.cli.main import COMMANDS
from outlast.cli.screen.interrupted import going_on
from outlast.cli.screen.job_rate import JobRate
from outlast.cli.screen.render import Screen, rate_and_left
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import Cancelled
from outlast.core.events import Again, Event, Loading, Planned, Progress, Removed
from outlast.core.names import Target
from outlast.fetch.file_filter import Selection
from outlast.intake.form_policy import FormWish, FormWishes
from outlast.ops.add import add
from outlast.ops.adopt import adopt
from outlast.ops.doctor import rebuild
from outlast.ops.export import link
from outlast.ops.pack import pack, unpack
from outlast.ops.removal import collect_garbage, remove
from outlast.ops.tuning import TUNING
from outlast.ops.verify import verify
from outlast.store.archive import Archive
from tests.cli.call import end_all, finish, inside, outlast, start, until
from tests.hubsim import HubRepo, HubSim
from tests.noise import noise

MB = 10**6
MIB = 1 << 20
NOISE = bytes(byte * 228 // 256 for byte in noise(5, 3 * MIB))
"""A capsule of it is 2 % smaller: it is tried, and does not pay."""
WORDS = b"weights compress well when they repeat; " * (MIB // 8)


class Clock:
    """Seconds that a test tells."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


class TestRate:
    def test_the_rate_is_that_of_the_last_half_minute(self, clock: Clock) -> None:
        pace = JobRate(clock, 10_000 * MB)
        for speed in (100, 10):
            for _ in range(60):
                clock.now += 1
                pace.advance(speed * MB)
        assert pace.rate() == pytest.approx(10 * MB)
        assert pace.left() == pytest.approx((10_000 - 6_600) / 10)

    def test_what_was_there_before_is_not_speed(self, clock: Clock) -> None:
        pace = JobRate(clock, 100 * MB, 90 * MB)
        clock.now += 2
        pace.advance(2 * MB)
        assert (pace.done, pace.percent) == (92 * MB, 92)
        assert pace.rate() == pytest.approx(1 * MB)
        assert pace.left() == pytest.approx(8)

    def test_at_first_nothing_is_known(self, clock: Clock) -> None:
        pace = JobRate(clock, 100 * MB)
        assert rate_and_left(pace) == "-, - left"
        clock.now += 0.5
        pace.advance(50 * MB)
        assert rate_and_left(pace) == "-, - left"

    def test_where_nothing_comes_any_more(self, clock: Clock) -> None:
        pace = JobRate(clock, 100 * MB)
        clock.now += 10
        pace.advance(10 * MB)
        assert rate_and_left(pace) == "1.0 MB/s, 1 min 30 s left"
        clock.now += 20
        assert rate_and_left(pace) == "333 kB/s, 4 min 30 s left"
        clock.now += 100
        assert rate_and_left(pace) == "-, - left"

    def test_when_it_goes_on_after_a_pause(self, clock: Clock) -> None:
        pace = JobRate(clock, 100 * MB)
        clock.now += 1000
        pace.advance(30 * MB)
        assert pace.rate() == pytest.approx(1 * MB)

    def test_more_than_was_planned(self, clock: Clock) -> None:
        """As where pieces had to be fetched twice."""
        pace = JobRate(clock, 10 * MB)
        clock.now += 10
        pace.advance(11 * MB)
        assert (pace.done, pace.percent, pace.left()) == (10 * MB, 99, None)

    def test_what_has_to_be_done_again(self, clock: Clock) -> None:
        pace = JobRate(clock, 10 * MB)
        clock.now += 10
        pace.advance(5 * MB)
        pace.repeat(5 * MB)
        assert (pace.done, pace.percent) == (0, 0)
        assert pace.left() == pytest.approx(20)

    def test_the_end(self, clock: Clock) -> None:
        pace = JobRate(clock, 10 * MB)
        clock.now += 10
        pace.advance(10 * MB)
        assert (pace.percent, pace.left()) == (100, 0)

    def test_of_an_unknown_whole(self, clock: Clock) -> None:
        pace = JobRate(clock, 0)
        clock.now += 10
        pace.advance(10 * MB)
        assert (pace.done, pace.percent, pace.left()) == (10 * MB, None, None)


PLANNED = Planned("verify", "archive", 2, 100 * MB, 10 * MB)


def go_on(screen: Screen, clock: Clock) -> None:
    """Half a minute at 1 MB/s."""
    screen.emit(PLANNED)
    for _ in range(30):
        clock.now += 1
        screen.emit(Progress("a", MB))


def test_in_a_log_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with Screen(as_json=False, quiet=False, clock=clock) as screen:
        go_on(screen, clock)
    assert capsys.readouterr().err.splitlines() == [
        "verify archive: 2 files, 100 MB, 10.0 MB here",
        "  20.0 MB of 100 MB (20 %), 1.0 MB/s, 1 min 20 s left",
        "  30.0 MB of 100 MB (30 %), 1.0 MB/s, 1 min 10 s left",
        "  40.0 MB of 100 MB (40 %), 1.0 MB/s, 1 min 00 s left",
    ]


def test_for_programs_an_event_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with Screen(as_json=True, quiet=False, clock=clock) as screen:
        go_on(screen, clock)
        screen.emit(Again("a", 5 * MB))
    out, err = capsys.readouterr()
    documents = [json.loads(line) for line in out.splitlines()]
    assert err == ""
    assert [document["type"] for document in documents] == ["planned", *["progress"] * 3]
    assert documents[1] == {
        "type": "progress",
        "v": 1,
        "job": "verify",
        "subject": "archive",
        "done_bytes": 20 * MB,
        "total_bytes": 100 * MB,
        "bytes_per_second": MB,
        "seconds_left": 80,
    }


def test_quiet(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with Screen(as_json=False, quiet=True, clock=clock) as screen:
        go_on(screen, clock)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Screen(as_json=False, quiet=False, clock=clock) as screen:
        go_on(screen, clock)
        assert screen._bars is not None
        (task,) = screen._bars.tasks
        assert task.completed == 40 * MB
        shown = [str(c.render(task)) for c in screen._bars.columns if hasattr(c, "render")]
        assert "1.0 MB/s, 1 min 00 s left" in shown
        screen.emit(Again("a", 5 * MB))
        assert task.completed == 35 * MB


def test_a_model_that_loads(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    """Of which no engine says how far it is."""
    with Screen(as_json=False, quiet=False, clock=clock) as screen:
        for seconds in range(25):
            screen.emit(Loading("llama.cpp", 98 * MB, float(seconds)))
            clock.now += 1
    assert capsys.readouterr().err.splitlines() == [
        f"  loading 98.0 MB into llama.cpp for {seconds} s; the time left is not known"
        for seconds in (10, 20)
    ]


# Each long job


def weighed(events: list[Event]) -> dict[str, tuple[int, int]]:
    """For each job what was planned, and what was done; bytes."""
    found: dict[str, tuple[int, int]] = {}
    job = ""
    for event in events:
        if isinstance(event, Planned):
            job = event.job
            found[job] = (event.total_bytes, event.present_bytes)
        elif isinstance(event, Progress):
            found[job] = (found[job][0], found[job][1] + event.count)
        elif isinstance(event, Again):
            found[job] = (found[job][0], found[job][1] - event.count)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "noise.bin").write_bytes(NOISE)
    (folder / "words.bin").write_bytes(WORDS)
    return folder


SIZE = len(NOISE) + len(WORDS)
MINE = Target.parse("me/mine")


def added(archive: Archive, folder: Path, form: FormWish, emit: Callable[[Event], None]) -> None:
    add(
        archive,
        folder,
        MINE,
        selection=Selection(),
        follow_links=False,
        control=Control(emit),
        wishes=FormWishes(form),
    )


@pytest.mark.parametrize("form", FormWish)
def test_add_does_what_it_planned(tmp_path: Path, folder: Path, form: FormWish) -> None:
    """Also where a file is read once more, because its capsule is not smaller."""
    events: list[Event] = []
    with Archive(tmp_path / "archive", create=True) as archive:
        added(archive, folder, form, events.append)
    assert weighed(events) == {"add": (SIZE, SIZE)}
    assert any(isinstance(event, Again) for event in events) == (form is FormWish.AUTO)


def test_every_other_job_does_what_it_planned(tmp_path: Path, folder: Path) -> None:
    events: list[Event] = []
    control = Control(events.append)
    wishes = FormWishes(FormWish.CAPSULE)
    with Archive(tmp_path / "archive", create=True) as archive:
        added(archive, folder, FormWish.PLAIN, lambda _event: None)
        pack(archive, [], wishes, dry_run=False, control=control)
        verify(archive, [], quarantine=False, control=control)
        link(archive, MINE, cache=tmp_path / "hub", folder=None, control=control)
        with Archive(tmp_path / "other", create=True) as other:
            adopt(other, tmp_path / "hub", only=(), copy=True, control=control)
        unpack(archive, [], dry_run=False, control=control)
        remove(archive, MINE, dry_run=False, control=control)
    rebuild(tmp_path / "other", control)
    with Archive(tmp_path / "archive") as archive:
        collected = collect_garbage(archive, dry_run=False, control=control, grace=0)
    found = weighed(events)
    assert found.keys() == {"pack", "verify", "decode", "adopt", "unpack", "rebuild", "gc"}
    for job, (planned, done) in found.items():
        assert planned > 0, job
        assert done == planned, job
    assert found["pack"] == found["adopt"] == (SIZE, SIZE)
    assert found["gc"] == (SIZE, SIZE)
    assert collected.freed == 2 * SIZE  # with the working copies


def test_pack_tells_of_reading_back(tmp_path: Path, folder: Path) -> None:
    """Half of its work."""
    events: list[Event] = []
    with Archive(tmp_path / "archive", create=True) as archive:
        (folder / "words.bin").write_bytes(WORDS * 4)
        added(archive, folder, FormWish.PLAIN, lambda _event: None)
        pack(archive, [], FormWishes(), dry_run=False, control=Control(events.append))
    counts = [e.count for e in events if isinstance(e, Progress) and e.path == "words.bin"]
    assert sum(counts) == 4 * len(WORDS)
    assert max(counts) <= TUNING.pack_step // 2


# Ctrl-C


def test_every_command_that_works_long_says_how_to_go_on() -> None:
    default = going_on("no command")
    without = {name for name in COMMANDS if going_on(name) == default}
    assert without == {"serve", "guide", "completion"}  # Ctrl-C is how the first ends
    for name in COMMANDS:
        assert "run the same command again" in going_on(name)


def test_a_cancelled_collection_keeps_its_word(tmp_path: Path, folder: Path) -> None:
    """What it moved is in the trash, the rest where it was, and the archive can be used."""
    control = Control(lambda e: control.cancel.set() if isinstance(e, Removed) else None)
    with Archive(tmp_path / "archive", create=True) as archive:
        added(archive, folder, FormWish.PLAIN, lambda _event: None)
        remove(archive, MINE, dry_run=False, control=Control())
        with pytest.raises(Cancelled):
            collect_garbage(archive, dry_run=False, control=control)
        assert len(list(archive.plain_blobs())) == 1
        collect_garbage(archive, dry_run=False, control=Control())
        assert list(archive.plain_blobs()) == []
        moved = [path for path in archive.layout.trash.glob("*/*/*") if path.is_file()]
        assert len(moved) == 2


def test_a_cancelled_rebuild_is_made_good(tmp_path: Path, folder: Path) -> None:
    control = Control(lambda e: control.cancel.set() if isinstance(e, Planned) else None)
    with Archive(tmp_path / "archive", create=True) as archive:
        added(archive, folder, FormWish.PLAIN, lambda _event: None)
    with pytest.raises(Cancelled):
        rebuild(tmp_path / "archive", control)
    with Archive(tmp_path / "archive") as archive:
        assert len(archive.summaries()) == 1
        assert not archive.index.differs()


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A folder that takes a while to read: most of it are holes."""
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "a.bin").write_bytes(NOISE)
    with (folder / "b.bin").open("wb") as file:
        file.truncate(8 << 30)
    return folder


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_signal_to_add(tmp_path: Path, slow: Path, as_json: bool) -> None:
    process = start(
        *("add", slow, "--as", "me/slow", "--form", "plain"),
        *(["--json"] if as_json else []),
        home=tmp_path,
    )
    try:
        blobs = tmp_path / "archive" / "blobs"
        until(lambda: list(blobs.glob("*/*")), "the first file is stored")
        process.send_signal(signal.SIGINT)
        call = finish(process)
    finally:
        end_all()
    assert call.failed("cancelled") == "interrupted"
    assert call.code == 130
    assert going_on("add") in call.err
    if as_json:
        assert call.result == {
            "type": "error",
            "v": 1,
            "code": "cancelled",
            "message": "interrupted",
            "hint": going_on("add"),
        }
    assert inside("ls", "--json", home=tmp_path).ok().documents == []  # nothing is recorded


def test_a_signal_to_verify(tmp_path: Path) -> None:
    home = tmp_path / "archive"
    with Archive(home, create=True) as archive:
        large = archive.layout.blob(Digest("ab" * 32))
        large.parent.mkdir(parents=True, exist_ok=True)
        with large.open("wb") as file:
            file.truncate(8 << 30)
    process = start("verify", home=tmp_path)
    try:
        assert process.stderr is not None
        assert re.match(rb"verify archive: 1 file", process.stderr.readline())
        process.send_signal(signal.SIGINT)
        call = finish(process)
    finally:
        end_all()
    call.failed("cancelled")
    assert going_on("verify") in call.err
    assert call.out == ""


def test_a_signal_to_pull(tmp_path: Path) -> None:
    HubRepo(tmp_path / "hub", "org/name").commit({"a.bin": NOISE * 4, "config.json": b"{}"})
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        hub.set_faults([{"action": "stall", "at": MIB, "file": "a.bin"}])
        process = start("pull", "org/name", "--from", hub.url, home=tmp_path)
        try:
            until(lambda: hub.fault_hits()[0][1] > 0, "the transfer is under way")
            process.send_signal(signal.SIGINT)
            call = finish(process)
        finally:
            end_all()
        call.failed("cancelled")
        assert going_on("pull") in call.err
        hub.set_faults([])
        outlast("pull", "org/name", "--from", hub.url, home=tmp_path).ok()
