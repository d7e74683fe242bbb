"""``kill -9`` at any change that a command makes to the disk, be it made by Python, SQLite or
native code. Points are spread evenly over all changes of each operation.
"""

import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from outlast.codec.payload import Form
from tests.campaign import LONG, SEED, rounds
from tests.faults.scene import OPERATIONS, Place, check, check_again, copied, forms
from tests.faults.seam import Controls, Moment, start
from tests.hubsim import HubSim
from tests.warm.calls import finish

pytestmark = [pytest.mark.crash, pytest.mark.torture]

POINTS = rounds(1, -(-1000 // len(OPERATIONS)))
"""Of each operation: in all at least 1,000 of the long campaign."""

SHORT = ("pack", "unpack", "doctor --mend", "verify --quarantine")
"""Those that tests/crash does not kill in `make test`."""

Template = Callable[[str], Path]


@pytest.mark.parametrize("name", OPERATIONS if LONG else SHORT)
def test_killed(name: str, template: Template, hub: HubSim, tmp_path: Path) -> None:
    operation, random = OPERATIONS[name], Random(f"{SEED} {name}")
    changes = count_changes(name, template(name), hub, tmp_path)
    for point in range(POINTS):
        number = 1 + int(changes * (point + random.random()) / POINTS)
        moment = random.choice([*Moment])
        place = copied(template(name), tmp_path / "home", hub.url)
        controls = Controls(tmp_path / "controls").die(number, moment)
        call = finish(start([*place.said(*operation.words), "--json"], place.home, controls))
        at = f"{name}, killed at change {number} of {changes} ({moment.name})"
        if call.code != -signal.SIGKILL:  # threads come in another order each time
            assert number > changes - 20, f"{at}: {call}"
        try:
            check(place, operation, call.out)
            check_again(place, operation)
        except BaseException as error:
            error.add_note(at)
            raise


def count_changes(name: str, template: Path, hub: HubSim, folder: Path) -> int:
    """How many changes the operation makes where it is not killed; it must come to its end."""
    operation = OPERATIONS[name]
    place = copied(template, folder / "whole", hub.url)
    controls = Controls(folder / "counted")
    call = finish(start([*place.said(*operation.words), "--json"], place.home, controls))
    assert call.code == operation.code, call.err
    check(place, operation, call.out)
    return controls.get("count")


def test_what_is_at_stake(template: Template, hub: HubSim, tmp_path: Path) -> None:
    """The archive of the campaigns holds each form, and its operations change the disk."""
    found = forms(Place(template("pull"), hub.url), ["org/base", "org/tuned", "org/loose"])
    assert found["org/base"] == {Form.CAPSULE, Form.PLAIN}
    assert Form.DELTA in found["org/tuned"]
    assert found["org/loose"] == {Form.PLAIN}
    if LONG:
        for name in OPERATIONS:
            assert count_changes(name, template(name), hub, tmp_path) > 5, name
