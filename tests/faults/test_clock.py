"""Clocks that jump by ten years, between commands and while one runs, with the times of files as
they would be then: nothing is lost by it, and nothing is opened.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.campaign import LONG, SEED
from tests.faults.scene import OPERATIONS, Place, check, check_again, copied
from tests.faults.seam import SECOND, Controls, start
from tests.faults.test_failing_disk import serving
from tests.hubsim import HubRepo, HubSim
from tests.warm.calls import finish

pytestmark = [pytest.mark.crash, pytest.mark.torture]

YEARS = 10 * 365 * 86400 * SECOND
JUMPS = (YEARS, -YEARS)

Template = Callable[[str], Path]


def run(place: Place, controls: Controls, *words: str) -> str:
    """Runs a command under this clock; what it said."""
    return finish(start(place.said(*words), place.home, controls)).ok().out


def trash(place: Place) -> set[str]:
    return {path.name for path in place.archive.glob("trash/*/*/*")}


@pytest.mark.parametrize("jump", JUMPS if LONG else [YEARS])
def test_the_trash_waits_for_its_time(
    jump: int, template: Template, hub: HubSim, tmp_path: Path
) -> None:
    place = copied(template("gc"), tmp_path / "home", hub.url)
    controls = Controls(tmp_path / "controls")
    run(place, controls, "gc")
    before = trash(place)
    assert before
    for shift in (jump, 0, jump) if LONG else (jump,):
        controls.set(shift=shift)
        run(place, controls, "gc")
        assert trash(place) == before
    run(place, controls.set(shift=0), "gc", "--undo")
    assert trash(place) == set()


@pytest.mark.skipif(not LONG, reason="make torture")
@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_command_in_another_decade(
    name: str, jump: int, template: Template, hub: HubSim, tmp_path: Path
) -> None:
    """It does what it always does, and so does the next one, under the right clock again."""
    operation = OPERATIONS[name]
    place = copied(template(name), tmp_path / "home", hub.url)
    controls = Controls(tmp_path / "controls").set(shift=jump)
    call = finish(start([*place.said(*operation.words), "--json"], place.home, controls))
    assert call.code == operation.code, call.err
    check(place, operation, call.out)
    check_again(place, operation)


@pytest.mark.skipif(not LONG, reason="make torture")
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_clock_that_jumps_while_a_command_runs(
    name: str, template: Template, hub: HubSim, tmp_path: Path
) -> None:
    operation, random = OPERATIONS[name], Random(f"{SEED} {name}")
    place = copied(template(name), tmp_path / "home", hub.url)
    controls = Controls(tmp_path / "controls")
    process = start([*place.said(*operation.words), "--json"], place.home, controls)
    while process.poll() is None:
        controls.set(shift=random.choice([0, *JUMPS]))
    call = finish(process)
    assert call.code == operation.code, call.err
    check(place, operation, call.out)
    check_again(place, operation)


@pytest.mark.skipif(not LONG, reason="make torture")
def test_a_private_model_stays_closed(template: Template, tmp_path: Path) -> None:
    """Whatever the clock says while a mirror runs, only those read it whom the hub admits."""
    repo = HubRepo(tmp_path / "hub", "org/closed", private=True)
    repo.commit({"a.txt": b"secret\n"})
    with HubSim(tmp_path / "hub", mode="thread", token="hf_right") as hub:
        place = copied(template("pull"), tmp_path / "home", hub.url)
        controls = Controls(tmp_path / "controls")

        def admits(url: str, token: str) -> bool:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            asked = Request(f"{url}/org/closed/resolve/main/a.txt", headers=headers)
            try:
                with build_opener(ProxyHandler({})).open(asked, timeout=60) as answer:
                    return bool(answer.read() == b"secret\n")
            except OSError:
                return False

        with serving(place, controls, "--upstream", hub.url) as url:
            for shift in (0, *JUMPS, 0):
                controls.set(shift=shift)
                assert admits(url, "hf_right")
                assert not admits(url, "")
                assert not admits(url, "hf_wrong")
        hub.set_faults([{"action": "status", "status": 503}])
        for shift in JUMPS:  # who was let in is not remembered beyond the process
            with serving(place, controls.set(shift=shift), "--upstream", hub.url) as url:
                assert not admits(url, "hf_right")
                assert not admits(url, "")
