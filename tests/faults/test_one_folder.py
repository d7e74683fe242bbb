"""Two servers on one folder, and folders whose locks hold nothing back, as on some network mounts:
what could go wrong is refused, and said.
"""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from outlast.store.archive import Archive
from tests.campaign import LONG
from tests.faults.scene import HELD, NEW, OPERATIONS, Place, check, check_held, copied
from tests.faults.seam import GRANTED, Controls, start
from tests.faults.test_failing_disk import download, serving
from tests.hubsim import HubSim
from tests.pull.kit import check_archive
from tests.warm.calls import finish

pytestmark = [pytest.mark.crash, pytest.mark.torture]

SERVE = ("serve", "--listen", "127.0.0.1:0", "--no-swarm", "--json")
LOCKS = {"granted to everybody": GRANTED, "refused": errno.ENOLCK, "unknown": errno.EOPNOTSUPP}

Template = Callable[[str], Path]


@pytest.fixture
def place(template: Template, hub: HubSim, tmp_path: Path) -> Place:
    return copied(template("pull"), tmp_path / "home", hub.url)


@pytest.fixture
def controls(tmp_path: Path) -> Controls:
    return Controls(tmp_path / "controls")


def test_two_servers(place: Place, controls: Controls) -> None:
    """Where locks work they share it, and a collection takes nothing that either needs."""
    with (
        serving(place, controls) as one,
        serving(place, controls, "--upstream", place.hub) as other,
    ):
        assert download(other, "org/new", "noise.bin") == NEW["noise.bin"]
        finish(start(["gc", "--now"], place.home, controls)).ok()
        for url in (one, other):
            assert download(url, "org/old", "old.txt") == b"old\n"
            assert download(url, "org/new", "noise.bin") == NEW["noise.bin"]
    check_archive(place.archive)


@pytest.mark.parametrize("how", LOCKS if LONG else ["refused"])
def test_a_server_where_locks_do_not_work(place: Place, controls: Controls, how: str) -> None:
    controls.set(locks=LOCKS[how])
    call = finish(start(SERVE, place.home, controls))
    assert "a second server on this folder could not be noticed" in call.failed("storage")
    assert "--alone" in call.err
    with serving(place, controls, "--alone") as url:
        assert download(url, "org/old", "old.txt") == b"old\n"


@pytest.mark.skipif(not LONG, reason="make torture")
@pytest.mark.parametrize("how", LOCKS)
def test_two_machines_without_locks(place: Place, controls: Controls, how: str) -> None:
    """Both pull the same model into one folder, and a third would collect garbage."""
    controls.set(locks=LOCKS[how])
    words = place.said(*OPERATIONS["pull"].words)
    pulls = [start(words, place.home, controls) for _ in range(2)]
    refused = finish(start(["gc", "--now"], place.home, controls))
    assert "could delete what another process needs" in refused.failed("storage")
    for pull in pulls:
        call = finish(pull).ok()
        assert "use this archive from one process at a time" in call.err
    check(place, OPERATIONS["pull"], "")
    check_archive(place.archive)
    with Archive(place.archive) as archive:
        check_held(archive, {**HELD, "org/new": NEW})
