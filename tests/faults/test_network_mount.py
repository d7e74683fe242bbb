"""An archive on a mount without locks, as NFS is without its lock service: a file system of our own
in the kernel, that refuses flock and fcntl or grants them to everybody. And one that fails to read.
"""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outlast.store.archive import Archive
from tests.campaign import LONG
from tests.faults.fuse import mounted
from tests.faults.scene import HELD, NEW, Place, check_held, copied
from tests.faults.seam import GRANTED, Controls, Kind
from tests.faults.test_one_folder import SERVE
from tests.hubsim import HubSim
from tests.pull.kit import check_archive
from tests.warm.calls import outlast

pytestmark = [pytest.mark.crash, pytest.mark.torture]

LOCKS = {"refused": errno.ENOLCK, "unknown": errno.EOPNOTSUPP, "granted to everybody": GRANTED}

Template = Callable[[str], Path]


@pytest.fixture
def controls(tmp_path: Path) -> Controls:
    return Controls(tmp_path / "controls")


@pytest.fixture
def place(template: Template, hub: HubSim, tmp_path: Path, controls: Controls) -> Iterator[Place]:
    """A home on the mount."""
    copied(template("pull"), tmp_path / "home", hub.url)
    with mounted(tmp_path / "home", tmp_path / "mount", controls):
        yield Place(tmp_path / "mount", hub.url)


@pytest.mark.parametrize("how", LOCKS if LONG else ["refused"])
def test_a_mount_without_locks(place: Place, controls: Controls, how: str) -> None:
    """What could go wrong is refused; all else works."""
    controls.set(locks=LOCKS[how])
    assert "could not be noticed" in outlast(*SERVE, home=place.home).failed("storage")
    refused = outlast("gc", "--now", home=place.home)
    assert "could delete what another process needs" in refused.failed("storage")
    pulled = outlast("pull", "org/new", "--from", place.hub, home=place.home).ok()
    assert "use this archive from one process at a time" in pulled.err
    if LONG:
        outlast("verify", home=place.home).ok()
        outlast("gc", "--alone", home=place.home).ok()
        scrubbed = outlast("scrub", home=place.home)
        if how != "granted to everybody":
            assert "no locks (fcntl)" in scrubbed.failed("storage")
        else:
            scrubbed.ok()
        check_archive(place.archive)
    controls.set(locks=GRANTED)
    with Archive(place.archive) as archive:
        check_held(archive, {**HELD, "org/new": NEW})


@pytest.mark.skipif(not LONG, reason="make torture")
def test_a_mount_that_fails_to_read(place: Place, controls: Controls) -> None:
    """The kernel says so, for what is mapped into memory too: each command ends with one line, and
    goes on once the mount reads again.
    """
    controls.set(locks=GRANTED)
    commands = (
        ("verify",),
        ("pack",),
        ("scrub", "--full"),
        ("link", "org/tuned", "--folder", "{home}/out"),
        ("export", "org/tuned", "--to", "{home}/usb"),
    )
    for words in commands:
        controls.fail(errno.EIO, Kind.READ)
        call = outlast(*place.said(*words), home=place.home)
        assert call.code > 0, f"{words}: {call}"
        assert "Traceback" not in call.err
        controls.mend()
        outlast(*place.said(*words), home=place.home).ok()
    check_archive(place.archive)
    with Archive(place.archive) as archive:
        check_held(archive, HELD)
