"""Long calls: their events, and the ways to stop them."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import outlast
from outlast.api.work import run
from outlast.core.control import Control
from tests.api.conftest import FILES, MIB
from tests.cli.call import environment, until
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import check_archive

WATCHER = "in-time"
"""A daemon that ends answers of hubs that take too long; it goes by itself after some seconds."""


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()} - {WATCHER}


class TestEvents:
    def test_they_come_in_the_thread_of_the_call(self, mine: outlast.Archive, hub: HubSim) -> None:
        seen: list[tuple[str, outlast.Event]] = []

        def see(event: outlast.Event) -> None:
            seen.append((threading.current_thread().name, event))

        before = threads()
        mine.pull("org/name", from_=hub.url, progress=see)
        assert threads() == before
        assert {name for name, _ in seen} == {threading.current_thread().name}
        events = [event for _, event in seen]
        assert isinstance(events[0], outlast.Planned)
        assert events[0].total_bytes == sum(map(len, FILES.values()))
        done = {event.path for event in events if isinstance(event, outlast.FileDone)}
        assert done == FILES.keys()

    def test_a_slow_listener_misses_nothing(self) -> None:
        """Progress of one file adds up while it is busy; other events keep their order."""
        entered, goes_on = threading.Event(), threading.Event()
        seen: list[outlast.Event] = []

        def work(control: Control) -> str:
            control.emit(outlast.Planned("a", "first", 1, 10))
            assert entered.wait(60)
            for _ in range(1000):
                control.emit(outlast.Progress("x", 1))
                control.emit(outlast.Progress("y", 2))
            control.emit(outlast.FileDone("x", 1000, "", already=False))
            control.emit(outlast.Planned("b", "second", 1, 10))
            control.emit(outlast.Progress("x", 5))
            goes_on.set()
            return "done"

        def see(event: outlast.Event) -> None:
            seen.append(event)
            entered.set()
            assert goes_on.wait(60)

        assert run(work, see) == "done"
        assert seen == [
            outlast.Planned("a", "first", 1, 10),
            outlast.Progress("x", 1000),
            outlast.Progress("y", 2000),
            outlast.FileDone("x", 1000, "", already=False),
            outlast.Planned("b", "second", 1, 10),
            outlast.Progress("x", 5),
        ]

    def test_a_listener_may_use_the_archive(self, mine: outlast.Archive) -> None:
        counts: list[int] = []
        mine.verify(progress=lambda _event: counts.append(len(mine.list())))
        assert set(counts) == {1}


class ListenerError(Exception):
    pass


@pytest.fixture
def stalled(tmp_path: Path) -> Iterator[HubSim]:
    """A hub that stops in the middle of a file."""
    HubRepo(tmp_path / "stalled", "org/name").commit(FILES)
    with HubSim(tmp_path / "stalled") as hub:
        hub.set_faults([{"action": "stall", "at": MIB, "file": "noise.bin"}])
        yield hub


class TestStopping:
    def test_an_error_of_the_listener_is_raised(self, mine: outlast.Archive) -> None:
        def fail(_event: outlast.Event) -> None:
            raise ListenerError

        before = threads()
        with pytest.raises(ListenerError):
            mine.verify(progress=fail)
        assert threads() == before
        assert mine.verify().ok

    def test_by_a_token(self, archive: outlast.Archive, stalled: HubSim) -> None:
        token = outlast.Cancel()
        before = threads()
        caught: list[outlast.Error] = []

        def pull() -> None:
            with pytest.raises(outlast.Cancelled) as error:
                archive.pull("org/name", from_=stalled.url, cancel=token)
            caught.append(error.value)

        pulling = threading.Thread(target=pull)
        pulling.start()
        until(lambda: stalled.fault_hits()[0][1] > 0, "the transfer is under way")
        token.set()
        pulling.join()
        assert (caught[0].code, caught[0].exit_code) == ("cancelled", 130)
        assert "outlast" not in caught[0].hint  # a script has no command to run again
        until(lambda: threads() == before, "all threads have ended", 10)  # and not with the hub
        stalled.set_faults([])
        assert archive.pull("org/name", from_=stalled.url).complete

    def test_where_no_thread_can_be_started(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(outlast.TransientError, match="thread"):
            run(lambda _control: None)

    def test_a_token_that_is_set_stops_at_once(self, mine: outlast.Archive) -> None:
        token = outlast.Cancel()
        token.set()
        for call in (mine.verify, lambda **given: mine.link("me/mine", **given)):
            with pytest.raises(outlast.Cancelled):
                call(cancel=token)


SCRIPT = """
import json, threading, time
import outlast

archive = outlast.open()

def tell(event):
    print("working", flush=True)

try:
    {call}
except KeyboardInterrupt:
    names, until = ["?"], time.monotonic() + 10
    while names != ["MainThread"] and time.monotonic() < until:
        names = [thread.name for thread in threading.enumerate() if thread.name != "in-time"]
    print(json.dumps({{"threads": names, "revisions": len(archive.list())}}), flush=True)
    archive.close()
"""


@pytest.mark.parametrize(
    "call",
    [
        "archive.pull('org/name', progress=tell)",
        "archive.add('large', 'me/large', form='plain', progress=tell)",
        "archive.verify(progress=tell)",
    ],
    ids=["pull", "add", "verify"],
)
def test_ctrl_c(tmp_path: Path, stalled: HubSim, call: str) -> None:
    """A real signal, to a process that does nothing about signals."""
    with outlast.open(tmp_path / "archive", configured=False) as archive:
        (tmp_path / "hole.bin").touch()
        with (tmp_path / "hole.bin").open("wb") as file:
            file.truncate(64 * MIB)
        archive.add(tmp_path / "hole.bin", "me/hole", form="plain")
    if "verify" in call:
        (blob,) = (tmp_path / "archive" / "blobs").glob("*/*")
        blob.chmod(0o600)
        with blob.open("r+b") as file:
            file.truncate(8 << 30)
    (tmp_path / "large").mkdir()
    with (tmp_path / "large" / "a.bin").open("wb") as file:
        file.truncate(8 << 30)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(call=call)],
        cwd=tmp_path,
        env=environment(tmp_path, HF_ENDPOINT=stalled.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        if "pull" in call:
            until(lambda: stalled.fault_hits()[0][1] > 0, "a thread waits for the hub")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert err == ""
    assert process.returncode == 0
    told = json.loads(out.splitlines()[-1])
    assert told["threads"] == ["MainThread"]
    if "verify" not in call:
        check_archive(tmp_path / "archive")
