"""Known values, against scipy where it has them; and error rates by simulation."""

import math

import numpy as np
import pytest

from outlast.features.audit.statistics.calibration import Calibration
from outlast.features.audit.statistics.conformal import (
    conformal_threshold,
    exceedances,
    least_count,
    tail,
)
from outlast.features.audit.statistics.greedy import clipped_margin
from outlast.features.audit.statistics.logprobs import position_distance
from outlast.features.audit.statistics.mixture import MixtureEProcess
from outlast.features.audit.statistics.rank_uniformity import (
    cramer_von_mises,
    limit_distribution,
    log_rank,
    percentile,
    uniformity_p_value,
)
from outlast.features.audit.statistics.two_samples import (
    discrepancy,
    hamming_kernel,
    two_sample_p_value,
)
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
    assert conformal_threshold(calibration, 0.05) == 18
    assert conformal_threshold(calibration, 0.1) == 17
    assert conformal_threshold(calibration[:18], 0.05) == math.inf
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


def test_evidence_of_a_mixture() -> None:
    process = MixtureEProcess(["a", "b"], ["p", "h"])
    assert process.log_e == 0
    process.add({"a": math.log(0.5), "b": math.log(0.1)}, {"p": math.log(0.2), "h": math.log(0.25)})
    assert process.log_e == pytest.approx(math.log((0.5 + 0.1) / 2 / 0.25))
    process.add({"a": math.log(0.5), "b": -math.inf}, {"p": math.log(0.4), "h": math.log(0.1)})
    assert process.log_e == pytest.approx(math.log(0.25 / 2 / 0.08))
    assert process.weights() == {"a": 1, "b": 0}
    assert not process.alarm(0.05)
    assert process.alarm(0.65)


def test_evidence_falls_for_ever_where_no_alternative_allows_a_token() -> None:
    process = MixtureEProcess(["a"], ["p"])
    process.add({"a": -math.inf}, {"p": -1.0})
    assert process.log_e == -math.inf
    assert sum(process.weights().values()) == 1
    other = MixtureEProcess(["a"], ["p"])
    assert other.add({"a": -1.0}, {"p": -math.inf}) > 1000


@pytest.mark.parametrize("source", [0, 1])
def test_evidence_is_valid_whenever_one_stops(source: int) -> None:
    """The worst stopping rule there is: at the highest value of 200 tokens. Text comes from either
    honest distribution.
    """
    rng = np.random.default_rng(source)
    size, length, alpha = 6, 200, 0.05
    honest = [rng.dirichlet(np.ones(size)) for _ in range(2)]
    # Distributions near the honest ones gain and lose most.
    others = [0.8 * honest[0] + 0.2 * rng.dirichlet(np.ones(size)) for _ in range(3)]
    logs = np.log(np.array(honest)), np.log(np.array(others))
    alarms = 0
    runs = RUNS if LONG else 400
    for _ in range(runs):
        text = rng.choice(size, length, p=honest[source])
        p = np.cumsum(logs[0][:, text], axis=1).max(axis=0)
        q = np.cumsum(logs[1][:, text], axis=1)
        top = q.max(axis=0)
        e = top + np.log(np.exp(q - top).mean(axis=0)) - p
        alarms += bool(e.max() >= -math.log(alpha))
    assert alarms <= stats.binom.ppf(0.9999, runs, alpha)
    # What was computed above at once is what the process computes.
    process = MixtureEProcess(["0", "1", "2"], ["0", "1"])
    for token in text:
        process.add(*({str(n): float(row[token]) for n, row in enumerate(x)} for x in logs[::-1]))
    assert process.log_e == pytest.approx(float(e[-1]), abs=1e-9)
    assert process.highest == pytest.approx(max(0.0, float(e.max())), abs=1e-9)


def test_evidence_grows_where_an_alternative_is_true() -> None:
    rng = np.random.default_rng(5)
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.35, 0.35, 0.3])
    process = MixtureEProcess(["q", "far"], ["p"])
    for token in rng.choice(3, 500, p=q):
        process.add({"q": math.log(q[token]), "far": math.log(1 / 3)}, {"p": math.log(p[token])})
    assert process.alarm(0.05)


def test_uniformity_is_that_of_cramer_and_von_mises() -> None:
    rng = np.random.default_rng(3)
    for count in (5, 40, 300):
        values = list(rng.beta(1.3, 1, count))
        theirs = stats.cramervonmises(values, "uniform")
        assert cramer_von_mises(values) == pytest.approx(theirs.statistic, abs=1e-9)
        assert uniformity_p_value(values) == pytest.approx(theirs.pvalue, abs=0.02)
    for value in (0.03, 0.1, 0.4614, 1.2, 3.0):
        series = sum(
            special.gamma(k + 0.5)
            / special.gamma(k + 1)
            * math.sqrt(4 * k + 1)
            * math.exp(-((4 * k + 1) ** 2) / (16 * value))
            * special.kv(0.25, (4 * k + 1) ** 2 / (16 * value))
            for k in range(30)
        ) / (math.pi**1.5 * math.sqrt(value))
        assert limit_distribution(value) == pytest.approx(series, abs=1e-9)
    assert limit_distribution(0.0) == 0
    assert limit_distribution(0.46136) == pytest.approx(0.95, abs=1e-4)


def test_percentiles_are_uniform_also_with_ties() -> None:
    rng = np.random.default_rng(4)
    alarms = 0
    runs = RUNS // 5
    for _ in range(runs):
        scores = rng.integers(0, 5, (30, 21)).astype(float)
        found = [percentile(row[0], list(row[1:]), rng.random()) for row in scores]
        alarms += uniformity_p_value(found) <= 0.05
    assert alarms <= stats.binom.ppf(0.9999, runs, 0.055)
    assert percentile(9.0, [1.0, 2.0, 3.0], 0.0) == 0.75
    assert percentile(0.0, [1.0, 2.0, 3.0], 1.0) == 0.25
    assert log_rank([1, 1]) == 0
    assert log_rank([1, 3]) == pytest.approx(math.log(3) / 2)


def test_two_samples() -> None:
    a = [[1, 2, 3], [1, 2, 4], [1, 2, 3]]
    b = [[9, 2, 3], [9, 8, 7]]
    kernel = hamming_kernel([*a, *b])
    brute = [
        [sum(x == y for x, y in zip(i, j, strict=True)) / 3 for j in [*a, *b]] for i in [*a, *b]
    ]
    assert kernel.tolist() == brute
    within = (brute[0][1] + brute[0][2] + brute[1][2]) / 3 + brute[3][4]
    between = np.mean([brute[i][j] for i in range(3) for j in (3, 4)])
    assert discrepancy(kernel, range(3)) == pytest.approx(within - 2 * between, abs=1e-12)
    # A shorter answer differs where it has ended.
    assert hamming_kernel([[1], [1, 2]])[0, 1] == 0.5
    with pytest.raises(ValueError, match="fewer"):
        discrepancy(kernel, [0])


def test_two_samples_are_told_apart_or_not() -> None:
    rng = np.random.default_rng(6)

    def answers(p: float) -> list[list[int]]:
        return [list(map(int, row)) for row in rng.random((8, 10)) < p]

    _, unlike = two_sample_p_value([(answers(0.1), answers(0.7)) for _ in range(4)], draws=199)
    assert unlike == 1 / 200
    runs, draws = (400, 99) if LONG else (60, 39)
    alarms = sum(
        two_sample_p_value([(answers(0.3), answers(0.3))], draws, seed)[1] <= 0.05
        for seed in range(runs)
    )
    assert alarms <= stats.binom.ppf(0.9999, runs, 0.05)
    ours = two_sample_p_value([(answers(0.3), answers(0.45))], 999)
    assert 0 < ours[1] < 1
