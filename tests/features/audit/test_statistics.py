"""Known values, against scipy where it has them; and error rates by simulation."""

import numpy as np
import pytest

from outlast.features.audit.statistics.calibration import Calibration
from outlast.features.audit.statistics.conformal import (
    exceedances,
    least_count,
    tail,
)
from outlast.features.audit.statistics.greedy import clipped_margin
from outlast.features.audit.statistics.logprobs import position_distance
from tests.campaign import LONG

stats = pytest.importorskip("scipy.stats")
special = pytest.importorskip("scipy.special")
RUNS = 10_000 if LONG else 1000


def p_value(calibration: list[float], audited: list[float]) -> float:
    """That of prompts of one position each, without an allowance."""
    honest = [[[one] for one in calibration]]
    found = Calibration(honest, [1] * len(audited), 1.0)
    return found.p_value([[one] for one in audited])


def test_distance_of_a_position() -> None:
    reference = [(b"a", -0.5), (b"b", -1.5), (b"c", -3.0), (b"d", -9.0)]
    served = {b"b": -1.0, b"a": -0.75, b"x": -2.0}
    found = position_distance(reference, served)
    # c and d are no likelier than -2.0; d is below that anyway.
    assert found.mean == pytest.approx((0.25 + 0.5 + 0.0 + 0.0) / 4)
    assert (found.compared, found.censored) == (4, 2)
    near = position_distance([(b"c", -1.25)], served)
    assert near.mean == pytest.approx(0.75)
    assert position_distance([(bytes([n]), -1.0) for n in range(9)], served).compared == 5
    with pytest.raises(ValueError, match="without"):
        position_distance(reference, {})


def test_margins() -> None:
    assert clipped_margin(-0.5, -0.5) == 0
    assert clipped_margin(-0.5, -0.75) == 0.25
    assert clipped_margin(-0.5, -7) == 1
    assert clipped_margin(-0.5, None) == 1


@pytest.mark.parametrize(("calibrated", "audited"), [(1, 1), (19, 1), (5, 7), (24, 12), (40, 3)])
def test_rank_sums_are_those_of_mann_and_whitney(calibrated: int, audited: int) -> None:
    rng = np.random.default_rng(calibrated)
    for shift in (-1.0, 0.0, 0.7):
        a = list(rng.normal(size=audited) + shift)
        c = list(rng.normal(size=calibrated))
        theirs = stats.mannwhitneyu(a, c, alternative="greater", method="exact")
        assert exceedances(c, a) == theirs.statistic
        assert p_value(c, a) == pytest.approx(theirs.pvalue, abs=1e-9)


def test_one_prompt_has_the_conformal_p_value() -> None:
    calibration = [float(n) for n in range(19)]
    assert p_value(calibration, [18.5]) == pytest.approx(1 / 20)
    assert p_value(calibration, [-1.0]) == pytest.approx(1)
    assert p_value(calibration, [18.0]) == pytest.approx(2 / 20)  # a tie counts against the alarm
    with pytest.raises(ValueError, match="without"):
        tail(0, 1, 0)


def test_equal_scores_are_no_alarm() -> None:
    assert p_value([0.0] * 24, [0.0] * 12) == pytest.approx(1)


def test_honest_prompts_alarm_as_often_as_said() -> None:
    rng = np.random.default_rng(1)
    alarms = sum(
        p_value(list(rng.gamma(1, 1, 24)), list(rng.gamma(1, 1, 8))) <= 0.05 for _ in range(RUNS)
    )
    assert alarms <= stats.binom.ppf(0.9999, RUNS, 0.05)
    assert alarms >= stats.binom.ppf(0.0001, RUNS, 0.04)


def test_power_grows_with_the_deviation() -> None:
    rng = np.random.default_rng(2)
    honest = rng.exponential(size=(60, 1)).tolist()
    own = Calibration([honest], [1] * 8, 1.0)
    far = [[x + 1] for [x] in honest]
    assert own.power(far, 0.05, floor=0) == 1
    assert own.power(far, 0.05, floor=2) == pytest.approx(own.power(far, 0.05, floor=2.01), abs=0.1)
    assert own.power(far, 0.05, floor=9) == 0
    assert own.power(honest, 0.05, floor=0) < 0.15
    # Ten prompts are too few for one to be an alarm.
    assert least_count(10, 1, 0.05) == 11
    few = Calibration([honest[:10]], [1], 1.0)
    assert few.power([[9.0]], 0.05, floor=0) == 0
    assert few.smallest_shift(0.05, 0.9, floor=0) is None
    shift = own.smallest_shift(0.05, 0.9, floor=0)
    assert shift is not None
    assert own.power([[x + shift] for [x] in honest], 0.05, floor=0) >= 0.9
    assert own.power([[x + shift / 3] for [x] in honest], 0.05, floor=0) < 0.9


def test_a_prompt_is_compared_with_honest_ones_of_its_length() -> None:
    rng = np.random.default_rng(7)
    honest = rng.exponential(size=(40, 16)).tolist()
    found = Calibration([honest], [2, 16], 1.0)
    two, all_ = [float(np.mean(x[:2])) for x in honest], [float(np.mean(x)) for x in honest]
    counted = sum(x < 1.5 for x in two) + sum(x < 1.5 for x in all_)
    assert found.p_value([[1.4, 1.6], [1.5] * 16]) == tail(40, 2, counted)
    assert found.floor == pytest.approx((np.mean(two) + np.mean(all_)) / 2)
    # Of several numerics the farthest counts; and the allowance widens what is honest.
    zeros = [[0.0] * 16] * 40
    assert Calibration([zeros, honest], [2, 16], 1.0).floor == pytest.approx(found.floor)
    wider = Calibration([honest], [2, 16], 2.0)
    assert wider.floor == pytest.approx(2 * found.floor)
    assert wider.p_value([[3.0, 3.0], [3.0] * 16]) == found.p_value([[1.5] * 2, [1.5] * 16])


def test_honest_answers_of_any_length_alarm_as_often_as_said() -> None:
    rng = np.random.default_rng(8)
    runs = RUNS // 2
    alarms = 0
    for _ in range(runs):
        rows = rng.exponential(rng.gamma(4, 0.25, (28, 1)), (28, 16))
        lengths = rng.integers(1, 17, 8)
        audited = [row[:n].tolist() for row, n in zip(rows, lengths, strict=False)]
        calibration = Calibration([rows[8:].tolist()], [len(one) for one in audited], 1.0)
        alarms += calibration.p_value(audited) <= 0.05
    assert alarms <= stats.binom.ppf(0.9999, runs, 0.055)
