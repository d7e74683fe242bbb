"""`kill -9` at random points: nothing acknowledged is lost, nothing wrong is visible, the same
command completes the work, and garbage collection sweeps what is left.

OUTLAST_CRASH_LOG names a file for a line a kill.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from outlast.codec.payload import Form
from outlast.core.control import Control
from outlast.core.names import RepoId
from outlast.ops.removal import collect_garbage
from outlast.store.archive import Archive
from tests.campaign import LONG, SEED, rounds
from tests.cli.call import COMMAND, Call, environment, until
from tests.crash.world import (
    CACHED,
    COMMIT,
    FOLDER,
    MARK,
    NEW,
    OLD,
    World,
    fresh,
    write_cache,
)
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import MIB, contents, tree
from tests.warm import Child
from tests.warm.calls import finish, outlast, start

pytestmark = pytest.mark.crash

RUNS = rounds(15, 200)
OPERATIONS = ("pull", "add", "adopt", "gc", "rm")
STYLES = ("step", "delay", "step", "progress")
_TRIES = 12
AGAIN = 16 * MIB
"""What a crash may cost: bytes of one file that are fetched a second time."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How long an operation is when it is not killed."""

    changes: int
    seconds: float
    lines: int


def arguments_of(operation: str, world: World) -> list[str]:
    return {
        "pull": ["pull", "org/new", "--from", world.hub.url],
        "add": ["add", str(world.home / "folder"), "--as", "me/mine"],
        "adopt": ["adopt", str(world.cache)],
        "gc": ["gc"],
        "rm": ["rm", "org/old"],
    }[operation]


@pytest.fixture(scope="session")
def extents(
    template: Path, shared_hub: HubSim, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Extent]:
    """Measures an operation when it is first asked for."""
    known: dict[str, Extent] = {}

    def measure(operation: str) -> Extent:
        if operation not in known:
            folder = tmp_path_factory.mktemp("extent")
            world = prepare(operation, fresh(template, folder / "home", shared_hub))
            began = time.monotonic()
            process = launch(operation, world, doom=["0", "before", str(folder / "count")])
            call = finish(process).ok()
            seconds = time.monotonic() - began
            changes = int((folder / "count").read_text())
            known[operation] = Extent(changes, seconds, len(call.out.splitlines()))
        return known[operation]

    return measure


def prepare(operation: str, world: World) -> World:
    if operation == "gc":
        world.litter()
    if operation == "pull":
        world.hub.set_faults([{"action": "slow", "rate": 48 * MIB, "file": "*.safetensors"}])
    return world


def launch(operation: str, world: World, *, doom: Sequence[str] = ()) -> Child:
    return start(*arguments_of(operation, world), "--json", home=world.home, doom=doom)


def strike(number: int, style: str, extent: Extent, world: World, random: Random) -> Call:
    """Starts the operation and kills it at a random point."""
    operation = operation_of(number)
    if style == "step":
        moment = random.choice(["before", "torn", "torn", "after"])
        step = str(1 + int(extent.changes * stratified(number, random)))
        process = launch(operation, world, doom=[step, moment, str(world.home / "count")])
    else:
        process = launch(operation, world)
    lines: list[bytes] = []
    if style == "progress":
        wanted = random.randint(1, max(1, extent.lines - 1))
        while len(lines) < wanted and (line := process.stdout.readline()):
            lines.append(line)
        pause(random.choice([0, 0, 0.001, 0.01, 0.1]))
    elif style == "delay":
        pause(random.uniform(0.05, extent.seconds))
    if style != "step":
        process.send_signal(signal.SIGKILL)
    call = finish(process)
    return Call(call.code, b"".join(lines).decode() + call.out, call.err)


def operation_of(number: int) -> str:
    return OPERATIONS[number % len(OPERATIONS)]


def style_of(number: int) -> str:
    return STYLES[number // len(OPERATIONS) % len(STYLES)]


def stratified(number: int, random: Random) -> float:
    """A random part of the way. The kills of one operation are spread evenly over all of it."""
    alike = [
        other
        for other in range(RUNS)
        if (operation_of(other), style_of(other)) == (operation_of(number), style_of(number))
    ]
    return (alike.index(number) + random.random()) / len(alike)


def pause(seconds: float) -> None:
    """The moment of a kill is meant to be random: nothing waits for this."""
    time.sleep(seconds)


def acknowledged(call: Call) -> set[str]:
    """The files that the process said were verified and durable; a last line may be torn."""
    paths = set()
    for line in call.out.splitlines():
        with contextlib.suppress(ValueError):
            document = json.loads(line)
            if document.get("type") == "file-done":
                paths.add(document["path"])
    return paths


@pytest.mark.torture
@pytest.mark.parametrize("number", range(RUNS))
def test_killed(
    number: int,
    template: Path,
    shared_hub: HubSim,
    tmp_path: Path,
    extents: Callable[[str], Extent],
) -> None:
    operation = operation_of(number)
    random = Random(f"{SEED} {number}")
    extent = extents(operation)
    for attempt in range(_TRIES):
        style = style_of(number) if attempt < _TRIES // 3 else "step"  # which cannot be too late
        world = prepare(operation, fresh(template, tmp_path / "home", shared_hub))
        call = strike(number, style, extent, world, random)
        if call.code == -signal.SIGKILL:
            break
        assert call.code == 0, call.err
    else:
        pytest.fail(f"{operation} was quicker than {_TRIES} kills")
    if log := os.environ.get("OUTLAST_CRASH_LOG"):
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{operation} {style} {len(call.out.splitlines())} lines\n")
    world.check_past()
    CHECKS[operation](world, call, random)
    assert outlast("gc", home=world.home).ok()
    world.check_past()
    world.check_swept()


def check_pull(world: World, call: Call, random: Random) -> None:
    before = world.sent()
    if random.random() < 0.5:
        with Archive(world.archive) as archive:
            collect_garbage(archive, dry_run=False, control=Control())
    if done := acknowledged(call):
        held = contents(world.archive, f"org/new@{world.hub.repo('org/new').head.sha}")
        assert {path: held[path] for path in done} == {path: NEW[path] for path in done}
    world.hub.set_faults([])
    outlast(*arguments_of("pull", world), home=world.home).ok()
    assert contents(world.archive, "org/new") == NEW
    after = world.sent()
    for path, data in NEW.items():
        assert after[path] <= len(data) + min(len(data), AGAIN), path
        if path in done:
            assert after[path] == before[path], f"{path} was acknowledged and fetched again"


def check_add(world: World, call: Call, random: Random) -> None:
    del random
    if any(json.loads(line)["type"] == "added" for line in complete_lines(call)):
        assert contents(world.archive, "me/mine") == FOLDER
    outlast(*arguments_of("add", world), home=world.home).ok()
    assert contents(world.archive, "me/mine") == FOLDER


def complete_lines(call: Call) -> list[str]:
    return call.out.split("\n")[:-1]


def check_adopt(world: World, call: Call, random: Random) -> None:
    del call, random
    untouched = world.home / "untouched"
    write_cache(untouched)
    assert tree(world.cache) == tree(untouched)
    outlast(*arguments_of("adopt", world), home=world.home).ok()
    assert contents(world.archive, f"org/cached@{COMMIT}") == CACHED
    assert contents(world.archive, "org/cached") == CACHED
    assert tree(world.cache) == tree(untouched)


def check_gc(world: World, call: Call, random: Random) -> None:
    del call, random
    outlast(*arguments_of("gc", world), home=world.home).ok()
    assert not [p for p in world.archive.glob("tmp/*/*") if p.read_text() == MARK]


def check_rm(world: World, call: Call, random: Random) -> None:
    del call, random
    with Archive(world.archive) as archive:
        left = [s for s in archive.summaries() if str(s.repo) == "org/old"]
        names = [ref for repo in archive.refs.repos() for ref in archive.refs.list(repo)]
    if left:
        assert contents(world.archive, f"org/old@{left[0].revision}") == OLD
    assert len(names) in {1, 2}
    again = outlast(*arguments_of("rm", world), home=world.home)
    if left:
        again.ok()
    else:
        again.failed("not-found")


CHECKS = {
    "pull": check_pull,
    "add": check_add,
    "adopt": check_adopt,
    "gc": check_gc,
    "rm": check_rm,
}


@pytest.mark.torture
@pytest.mark.parametrize("step", range(0, 8, 1 if LONG else 3))
def test_a_pull_that_dies_at_its_end(
    step: int, world: World, extents: Callable[[str], Extent], tmp_path: Path
) -> None:
    """The last changes are those that turn a draft into a manifest and move the ref."""
    number = str(extents("pull").changes - 4 - 2 * step)
    process = launch("pull", world, doom=[number, "before", str(tmp_path / "count")])
    assert finish(process).code in {0, -signal.SIGKILL}
    world.check_past()
    outlast(*arguments_of("pull", world), home=world.home).ok()
    outlast("gc", home=world.home).ok()
    world.check_swept()
    assert contents(world.archive, "org/new") == NEW
    outlast("doctor", home=world.home).ok()


def test_what_is_at_stake_has_every_form(world: World) -> None:
    outlast(*arguments_of("pull", world), home=world.home).ok()
    outlast(*arguments_of("add", world), home=world.home).ok()
    forms = {}
    with Archive(world.archive) as archive:
        for name in ("org/new", "me/mine"):
            for entry in archive.revision(RepoId.parse(name)).files:
                assert entry.sha256 is not None
                forms[entry.path] = archive.form_of(entry.sha256).form
    for path in ("model-1.safetensors", "capsule.safetensors"):
        assert forms[path] is Form.CAPSULE
    for path in ("model-3.safetensors", "tuned.safetensors"):
        assert forms[path] is Form.DELTA
    for path in ("model-2.safetensors", "shared.bin", "noise.bin", "text-1.txt"):
        assert forms[path] is Form.PLAIN


def pieces_asked_for(hubs: Sequence[HubSim], path: str) -> list[int]:
    """The pieces (1 MiB) of a file that hubs were asked for, each as often as it was."""
    found: list[int] = []
    for entry in (entry for hub in hubs for entry in hub.requests() if entry.file == path):
        assert entry.range is not None
        first, last = entry.range.removeprefix("bytes=").split("-")
        found += range(int(first) // MIB, int(last) // MIB + 1)
    return found


def test_at_most_16_mib_of_a_file_are_asked_for_again(shared_hub: HubSim, tmp_path: Path) -> None:
    """With the connections that a pull has unless told otherwise, all of them busy."""
    path, data = "large.bin", Random(3).randbytes(40 * MIB)
    HubRepo(shared_hub.root, "org/large").commit({path: data})
    home = tmp_path / "home"
    with HubSim(shared_hub.root, mode="thread") as second:
        hubs = (shared_hub, second)
        pull = ["pull", "org/large", *(word for hub in hubs for word in ("--from", hub.url))]
        for hub in hubs:
            hub.clear_log()
            # A part comes; of all other pieces only the beginning.
            hub.set_faults([{"action": "stall", "at": 1000, "file": path, "skip": 1}])
        process = subprocess.Popen(
            [*COMMAND, *pull],
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def nothing_more_is_handed_out() -> bool:
            """An idle connection asks for what another waits for; or it is more than may be."""
            pieces = pieces_asked_for(hubs, path)
            return len(pieces) != len(set(pieces)) or len(pieces) == len(data) // MIB

        try:
            until(nothing_more_is_handed_out, "all connections to be busy")
        finally:
            process.kill()
            process.wait()
        before = set(pieces_asked_for(hubs, path))
        for hub in hubs:
            hub.set_faults([])
            hub.clear_log()
        outlast(*pull, home=home).ok()
        again = before & set(pieces_asked_for(hubs, path))
    assert contents(home / "archive", "org/large") == {path: data}
    assert 0 < len(again) * MIB <= AGAIN
