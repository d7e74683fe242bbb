"""The power goes at any change that a command makes to the disk: what was acknowledged is there
afterwards, and nothing that is wrong is shown, whichever part of what was not synced is left.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from outlast.store.archive import Archive
from tests.campaign import LONG, SEED, rounds
from tests.faults.lost_power import Cut, Disk
from tests.faults.scene import (
    OPERATIONS,
    Operation,
    Place,
    check,
    check_again,
    check_held,
    copied,
)
from tests.faults.seam import Controls, read_records, start
from tests.hubsim import HubSim
from tests.warm.calls import finish

pytestmark = [pytest.mark.crash, pytest.mark.torture]

POINTS = rounds(2, 32)
"""Of each operation: in all at least 400 of the long campaign."""

SHORT = ("pull", "pack", "gc")

Template = Callable[[str], Path]


@pytest.mark.parametrize("name", OPERATIONS if LONG else SHORT)
def test_lost_power(name: str, template: Template, hub: HubSim, tmp_path: Path) -> None:
    operation, random = OPERATIONS[name], Random(f"{SEED} {name}")
    place = copied(template(name), tmp_path / "home", hub.url)
    disk, log = Disk(place.home), tmp_path / "log"
    words = [*place.said(*operation.words), "--json"]
    call = finish(start(words, place.home, Controls(tmp_path / "controls"), log=log))
    assert call.code == operation.code, call.err
    records = read_records(log)
    for number, cut in points(len(records), random):
        while disk.step < number:
            disk.follow(records[disk.step])
        shutil.rmtree(place.home)  # paths stay as they were
        disk.cut(place.home, cut, random)
        try:
            check(place, operation, disk.said.decode())
            if number == len(records):
                check_done(place, operation)
            check_again(place, operation)
        except BaseException as error:
            error.add_note(f"{name}, cut after {number} of {len(records)} changes: {cut}")
            raise


def points(count: int, random: Random) -> list[tuple[int, Cut]]:
    """After which of `count` changes the power goes, and what is left: evenly spread, the last one
    among them.
    """
    cuts = [*Cut]
    numbers = [int(count * (n + random.random()) / (POINTS - 1)) for n in range(POINTS - 1)]
    offset = random.randrange(len(cuts))
    return [
        *((number, cuts[(offset + n) % len(cuts)]) for n, number in enumerate(numbers)),
        (count, Cut.NOTHING),
    ]


def check_done(place: Place, operation: Operation) -> None:
    """A command that ended well has said that all of it is durable."""
    with Archive(place.archive) as archive:
        check_held(archive, {**operation.kept, **(operation.gains or {})})
