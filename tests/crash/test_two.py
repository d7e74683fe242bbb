"""Two processes on one archive at once."""

import itertools
import json
import os
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from outlast.core.names import Target
from outlast.store.archive import Archive
from tests.cli.call import Call, until
from tests.crash.world import BASE, FOLDER, NEW, OLD, SHARED, World
from tests.hubsim import HubRepo
from tests.pull.kit import MIB, check_archive, contents, file_requests, sent
from tests.warm import Child
from tests.warm.calls import finish, outlast, start

pytestmark = pytest.mark.crash

ROUNDS = range(int(os.environ.get("OUTLAST_CRASH_ROUNDS", "1")))
LARGE = {f"large-{number}.bin": Random(number).randbytes(7 * MIB) for number in range(5)}


@pytest.fixture(params=ROUNDS)
def slow(world: World, request: pytest.FixtureRequest) -> World:
    """A world whose hub takes its time, so that two processes do meet."""
    assert request.param in ROUNDS
    world.hub.set_faults([{"action": "slow", "rate": 12 * MIB, "file": "*.safetensors"}])
    return world


def pull_new(world: World, *more: str) -> Child:
    return start("pull", "org/new", "--from", world.hub.url, *more, home=world.home)


def while_running(process: Child, *arguments: str, home: Path) -> list[Call]:
    """Runs another command again and again until `process` has ended."""
    calls = []
    while process.poll() is None:
        calls.append(outlast(*arguments, home=home))
    return calls


def test_pull_and_gc(slow: World) -> None:
    process = pull_new(slow)
    calls = while_running(process, "gc", home=slow.home)
    finish(process).ok()
    assert len(calls) >= 2
    for call in calls:
        call.ok()
    slow.check_past()
    assert contents(slow.archive, "org/new") == NEW
    assert slow.sent() == {path: len(NEW[path]) if path != "shared.bin" else 0 for path in NEW}


def test_a_resumed_pull_and_gc(slow: World) -> None:
    """What an interrupted pull left behind belongs to its draft."""
    process = pull_new(slow)
    until(lambda: sent(slow.hub, "model-1.safetensors") > 17 * MIB, "most of it came")
    process.kill()
    finish(process)
    before = sum(slow.sent().values())
    outlast("gc", home=slow.home).ok()
    finish(pull_new(slow)).ok()
    again = sum(slow.sent().values()) - before
    assert contents(slow.archive, "org/new") == NEW
    assert again < sum(map(len, NEW.values())) - 4 * MIB


def test_two_pulls_of_one_model_share_the_work(slow: World) -> None:
    HubRepo(slow.hub.root, "org/halves").commit(LARGE)
    slow.hub.set_faults([{"action": "slow", "rate": 16 * MIB, "file": "large-*"}])
    processes = [
        start("pull", "org/halves", "--from", slow.hub.url, home=slow.home) for _ in range(2)
    ]
    for process in processes:
        finish(process).ok()
    slow.check_past()
    assert contents(slow.archive, "org/halves") == LARGE
    assert {path: sent(slow.hub, path) for path in LARGE} == {p: len(d) for p, d in LARGE.items()}


def test_two_pulls_of_different_parts(slow: World) -> None:
    """Whichever ends first, both have what they were told they have."""
    parts = (["--include", "model-1*"], ["--include", "text-*"], ["--include", "model-[23]*"])
    process = pull_new(slow, *parts[0])
    until(lambda: list(slow.archive.glob("drafts/*/*/*/*")), "the first has begun")
    for part in parts[1:]:
        finish(pull_new(slow, *part)).ok()
    finish(process).ok()
    outlast("gc", home=slow.home).ok()
    slow.check_past()
    held = contents(slow.archive, "org/new")
    wanted = {path for path in NEW if path.startswith(("model-", "text-"))}
    assert wanted <= held.keys()
    assert {path: NEW[path] for path in held} == held


def test_two_models_with_one_content(slow: World) -> None:
    HubRepo(slow.hub.root, "org/fork").commit({**NEW, "text-0.txt": b"forked\n"})
    one = pull_new(slow)
    other = start("pull", "org/fork", "--from", slow.hub.url, home=slow.home)
    for process in (one, other):
        finish(process).ok()
    slow.check_past()
    assert contents(slow.archive, "org/new") == NEW
    assert contents(slow.archive, "org/fork") == {**NEW, "text-0.txt": b"forked\n"}
    large = [path for path, data in NEW.items() if len(data) > 4 * MIB and data != SHARED]
    assert {path: sent(slow.hub, path) for path in large} == {p: len(NEW[p]) for p in large}


def test_pull_and_rm_of_the_same_model(slow: World) -> None:
    process = pull_new(slow)
    until(lambda: list(slow.archive.glob("drafts/*/*/*/*")), "the pull has begun")
    calls = while_running(process, "rm", "org/new", home=slow.home)
    call = finish(process)
    for each in calls:
        if each.code != 0:
            each.failed("not-found")
    if call.code != 0:
        assert "removed" in call.failed("not-found", "revision-not-found")
    assert calls[0].code == 0
    slow.check_past()
    finish(pull_new(slow)).ok()
    assert contents(slow.archive, "org/new") == NEW
    outlast("gc", home=slow.home).ok()
    slow.check_past()


def test_rm_of_another_model_and_gc_meanwhile(slow: World) -> None:
    process = pull_new(slow)
    outlast("rm", "org/old", home=slow.home).ok()
    while_running(process, "gc", home=slow.home)
    finish(process).ok()
    slow.check_past()
    assert contents(slow.archive, "org/new") == NEW
    assert not any(data in OLD.values() and data != SHARED for data in NEW.values())


def test_add_and_gc(slow: World) -> None:
    for number in range(4):
        (slow.home / "folder" / f"only-{number}.bin").write_bytes(Random(number).randbytes(6 * MIB))
    process = start("add", slow.home / "folder", "--as", "me/mine", home=slow.home)
    calls = while_running(process, "gc", home=slow.home)
    finish(process).ok()
    for call in calls:
        call.ok()
    outlast("gc", home=slow.home).ok()
    slow.check_past()
    held = contents(slow.archive, "me/mine")
    assert {path: held[path] for path in FOLDER} == FOLDER
    assert len(held) == len(FOLDER) + 4


def test_two_adds_of_one_folder(slow: World) -> None:
    processes = [
        start("add", slow.home / "folder", "--as", f"me/{name}", home=slow.home)
        for name in ("mine", "mine", "yours")
    ]
    for process in processes:
        finish(process).ok()
    slow.check_past()
    for name in ("me/mine", "me/yours"):
        assert contents(slow.archive, name) == FOLDER


def test_adopt_and_gc(slow: World) -> None:
    process = start("adopt", slow.cache, home=slow.home)
    for call in while_running(process, "gc", home=slow.home):
        call.ok()
    finish(process).ok()
    outlast("gc", home=slow.home).ok()
    slow.check_past()
    assert len(contents(slow.archive, "org/cached")) == 3


def test_verify_show_and_ls_while_much_changes(slow: World) -> None:
    process = pull_new(slow)
    for arguments in itertools.cycle((["verify"], ["ls"], ["show", "org/base"], ["doctor"])):
        if process.poll() is not None:
            break
        other = start("gc", home=slow.home)
        outlast(*arguments, home=slow.home).ok()
        finish(other).ok()
    finish(process).ok()
    slow.check_past()


@contextmanager
def mirror(world: World) -> Iterator[str]:
    """`outlast serve --upstream` on the world's archive; its URL."""
    process = start(
        *("serve", "--listen", "127.0.0.1:0", "--upstream", world.hub.url, "--json"),
        home=world.home,
    )
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        call = finish(process)
        assert "Traceback" not in call.err, call.err


def download(url: str, path: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/org/new/resolve/main/{path}", timeout=60) as response:
        data: bytes = response.read()
    return data


def recorded(archive: Path, name: str) -> Mapping[str, bytes]:
    with Archive(archive) as opened:
        revision = opened.revision(Target.parse(name).repo)
        return {e.path: b"" for e in revision.files if opened.holds(e)}


def test_a_mirror_and_a_pull(slow: World) -> None:
    with mirror(slow) as url:
        process = pull_new(slow)
        for path in ("model-1.safetensors", "text-3.txt", "model-2.safetensors", "small.bin"):
            assert download(url, path) == NEW[path]
        finish(process).ok()
        assert download(url, "text-5.txt") == NEW["text-5.txt"]
    outlast("gc", home=slow.home).ok()
    slow.check_past()
    assert contents(slow.archive, "org/new") == NEW
    large = {path: len(data) for path, data in NEW.items() if path.startswith("model-")}
    assert {path: sent(slow.hub, path) for path in large} == large


def test_a_mirror_over_a_partial_archive_keeps_what_it_fetched(slow: World) -> None:
    finish(pull_new(slow, "--include", "text-1.txt")).ok()
    with mirror(slow) as url:
        for path in ("small.bin", "text-2.txt", "model-2.safetensors"):
            assert download(url, path) == NEW[path]
        until(
            lambda: len(recorded(slow.archive, "org/new")) >= 4, "the archive has what was served"
        )
    outlast("gc", home=slow.home).ok()
    slow.check_past()
    slow.hub.clear_log()
    with mirror(slow) as url:
        for path in ("small.bin", "text-2.txt", "model-2.safetensors"):
            assert download(url, path) == NEW[path]
    assert file_requests(slow.hub) == []


def test_a_mirror_and_gc(slow: World) -> None:
    with mirror(slow) as url:
        for path in NEW:
            other = start("gc", home=slow.home)
            assert download(url, path) == NEW[path]
            finish(other).ok()
        until(lambda: len(recorded(slow.archive, "org/new")) == len(NEW), "all is recorded")
    outlast("gc", home=slow.home).ok()
    slow.check_past()
    assert contents(slow.archive, "org/new") == NEW
    check_archive(slow.archive)
    assert contents(slow.archive, "org/base") == BASE
