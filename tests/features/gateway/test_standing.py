"""The breaker of a target."""

from dataclasses import dataclass, field

from outlast.features.gateway.upstream.faults import Fault, FaultKind
from outlast.features.gateway.upstream.standing import ServerStanding


@dataclass
class Scene:
    time: float = 100.0
    told: list[str] = field(default_factory=list)

    def standing(self) -> ServerStanding:
        return ServerStanding(
            "t",
            "u",
            lambda _, fault: self.told.append("" if fault is None else fault.kind),
            lambda: self.time,
        )


def test_a_connection_that_fails_once_is_enough() -> None:
    scene = Scene()
    one = scene.standing()
    one.failed(Fault(FaultKind.UNREACHABLE, ""))
    assert (one.answers, one.state, one.is_due) == (False, "open", False)
    scene.time += 1
    assert one.is_due
    one.probing = True
    assert (one.state, one.is_due) == ("half-open", False)


def test_errors_have_to_be_several_in_a_row() -> None:
    one = Scene().standing()
    for _ in range(5):
        one.failed(Fault(FaultKind.SERVER, ""))
        one.failed(Fault(FaultKind.SERVER, ""))
        one.succeeded()
    assert one.answers
    for _ in range(3):
        one.failed(Fault(FaultKind.CUT, ""))
    assert not one.answers


def test_pauses_grow_while_probes_fail_and_where_only_probes_succeed() -> None:
    scene = Scene()
    one = scene.standing()
    one.failed(Fault(FaultKind.SLOW, ""))
    pauses = []
    for number in range(7):
        began = scene.time
        while not one.is_due:
            scene.time += 0.5
        pauses.append(scene.time - began)
        one.probing = True
        if number % 2:
            one.failed(Fault(FaultKind.SLOW, ""))
            one.probing = False
        else:
            one.probed()
            one.probing = False
            assert one.answers
            one.failed(Fault(FaultKind.SLOW, ""))
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert scene.told == [FaultKind.SLOW]
    one.succeeded(0.2)
    assert scene.told == [FaultKind.SLOW, ""]
    one.failed(Fault(FaultKind.SLOW, ""))
    scene.time += 1
    assert one.is_due


def test_late_failures_make_the_pause_no_longer() -> None:
    scene = Scene()
    one = scene.standing()
    for _ in range(50):
        one.failed(Fault(FaultKind.UNREACHABLE, ""))
    scene.time += 1
    assert one.is_due


def test_the_provider_says_how_long() -> None:
    scene = Scene()
    one = scene.standing()
    one.failed(Fault(FaultKind.LIMITED, "", retry_after=300))
    scene.time += 299
    assert not one.is_due
    scene.time += 1
    assert one.is_due


def test_the_callers_own_faults_do_not_count() -> None:
    one = Scene().standing()
    for _ in range(10):
        one.failed(Fault(FaultKind.REQUEST, ""))
    assert one.answers


def test_first_tokens_are_a_moving_mean() -> None:
    one = Scene().standing()
    for seconds in (1.0, 2.0):
        one.succeeded(seconds)
    assert one.first_token == 1.2
