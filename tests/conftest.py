"""Hypothesis profiles, chosen by HYPOTHESIS_PROFILE: `long` searches for hours' worth of examples
(`make torture` does), `unshrunk` says whether something fails and does not look for the smallest
case.
"""

import gc
import os
import signal
import tempfile
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, Phase, is_hypothesis_test, settings

from tests.campaign import LONG, SEED

_LARGE = 100_000
_MEMORY = "/dev/shm"  # noqa: S108 - a folder of each run is made in it, under a name of its own
_ROOM = 5 << 30
"""Bytes that must be free there: two workers had 1.1 GB of files at once, at most (measured)."""


def _has_room(folder: str) -> bool:
    """Whether files that may be executed have room there."""
    try:
        about = os.statvfs(folder)
    except OSError:
        return False
    return about.f_bavail * about.f_frsize >= _ROOM and not about.f_flag & os.ST_NOEXEC


# A disk makes the tests wait for each fsync, folder and removal, three times as long as they
# compute. Nothing here cuts the power: after kill -9 both have the same files. Campaigns, and runs
# that are given a TMPDIR, use the disk.
if "TMPDIR" not in os.environ and not LONG and _has_room(_MEMORY):
    os.environ["TMPDIR"] = tempfile.tempdir = _MEMORY

# Tests of the swarm turn it on, in networks of their own; all others talk to loopback alone.
os.environ.setdefault("OUTLAST_SWARM", "0")

# A shell that starts the suite in the background has it ignore Ctrl-C, and so would all processes
# that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "default",
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
    derandomize=True,
)
settings.register_profile(
    "long",
    parent=settings.get_profile("default"),
    max_examples=2000,
    stateful_step_count=50,
    derandomize=False,
)
settings.register_profile(
    "unshrunk",
    parent=settings.get_profile("default"),
    max_examples=200,
    derandomize=False,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "long" if LONG else "default"))


def pytest_report_header() -> str:
    return f"campaigns: SEED={SEED}, {'long' if LONG else 'short'}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What Hypothesis searches is a campaign too. A test's folder is made before all else of the
    test and removed after it, so that no process that a fixture ends loses its files before.
    """
    for item in items:
        if is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.torture)
        names = getattr(item, "fixturenames", [])
        if "tmp_path" in names:
            names.remove("tmp_path")
            names.insert(0, "tmp_path")
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = _spread(items, workers)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected lives as long as the process. The collector went through all of it again
    and again: a tenth of collecting, and a third of what the tests computed (measured).
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _spread(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Each worker begins with as many tests, in their order. The long ones, in networks of their
    own, are spread over all of them and over the first part of each: so that they do not run beside
    each other, nor some workers at the end with nothing left to do.
    """
    long = [item for item in items if item.get_closest_marker("net") is not None]
    short = [item for item in items if item.get_closest_marker("net") is None]
    order: list[pytest.Item] = []
    for worker in range(workers):
        mine = short[worker * len(short) // workers : (worker + 1) * len(short) // workers]
        between = long[worker::workers]
        places = [4 * number * len(mine) // (5 * len(between)) for number in range(len(between))]
        for place, item in reversed(list(zip(places, between, strict=True))):
            mine.insert(place, item)
        order += mine
    return order


def _weight(value: object) -> int:
    """Bytes of content in a value that a test compares."""
    if isinstance(value, bytes | bytearray | str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_weight, value.values()))
    return sum(map(_weight, value)) if isinstance(value, list | tuple) else 0


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Keeps whole files out of reports: where output is not cut (as in CI), a difference between
    two of them would take gigabytes to print.
    """
    if op != "==" or max(_weight(left), _weight(right)) < _LARGE:
        return None
    lines = [f"large values differ: {_weight(left)} and {_weight(right)} bytes"]
    if isinstance(left, dict) and isinstance(right, dict):
        keys = sorted(map(str, left.keys() | right.keys()))
        lines += [f"differs: {key}" for key in keys if left.get(key) != right.get(key)]
    return lines
