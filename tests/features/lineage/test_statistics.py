"""The statistics against scipy, and what they must do by themselves."""

import math

import numpy as np
import pytest
import scipy

from outlast.features.lineage.assignment import assign
from outlast.features.lineage.statistics import (
    holm,
    log10,
    log_beta_tail,
    log_p_fisher,
    log_p_signs,
    log_p_spearman,
    spearman,
    written,
)


@pytest.mark.parametrize("n", [3, 16, 128, 512])
def test_spearman(n: int) -> None:
    random = np.random.default_rng(n)
    for noise in (0.05, 0.5, 5.0):
        order = np.argsort(np.argsort(np.arange(n) / n + noise * random.random(n)))
        theirs = scipy.stats.spearmanr(np.arange(n), order, alternative="greater")
        ours = spearman(order.tolist())
        assert ours == pytest.approx(theirs.statistic, abs=1e-12)
        if abs(ours) < 1:
            expected = max(float(theirs.pvalue), 1 / math.exp(math.lgamma(n + 1)) if n < 100 else 0)
            assert math.exp(log_p_spearman(ours, n)) == pytest.approx(expected, rel=1e-9)


def test_spearman_of_the_identity_is_one_in_n_factorial() -> None:
    assert log_p_spearman(1.0, 128) == pytest.approx(-math.lgamma(129))
    assert log_p_spearman(-1.0, 128) == 0.0
    assert log_p_spearman(0.999999, 5) >= -math.lgamma(6)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (7.0, 0.5), (300.0, 0.5), (2.0, 9.0)])
def test_beta(a: float, b: float) -> None:
    for x in (1e-12, 0.01, 0.3, 0.5, 0.9, 0.999999):
        theirs = float(scipy.stats.beta.logcdf(x, a, b))
        if theirs > -700:  # below that it says -inf
            assert log_beta_tail(x, a, b) == pytest.approx(theirs, rel=1e-9)
    assert log_beta_tail(0.0, a, b) == -math.inf
    assert log_beta_tail(1.0, a, b) == 0.0


@pytest.mark.parametrize(("heads", "count"), [(0, 9), (9, 9), (70, 128), (500, 512), (3, 40)])
def test_signs(heads: int, count: int) -> None:
    theirs = scipy.stats.binomtest(heads, count, 0.5, alternative="greater").pvalue
    assert math.exp(log_p_signs(heads, count)) == pytest.approx(theirs, rel=1e-9)


def test_fisher() -> None:
    for ps in ([0.3], [0.01, 0.9], [1e-8, 0.5, 0.2, 1.0], [1.0, 1.0]):
        theirs = scipy.stats.combine_pvalues(ps).pvalue
        ours = math.exp(log_p_fisher([math.log(p) for p in ps]))
        assert ours == pytest.approx(theirs, rel=1e-9)
    assert log_p_fisher([-5000.0, -4000.0]) < -8900


def test_holm_counts_what_was_not_tested() -> None:
    adjusted = holm([math.log(0.03), math.log(0.001)], 4)
    assert [math.exp(one) for one in adjusted] == pytest.approx([0.09, 0.004])
    assert holm([math.log(0.5)], 1000) == [0.0]


def test_written() -> None:
    assert written(math.log(0.034)) == "0.034"
    assert written(math.log(2e-7)) == "2e-7"
    assert written(-496.0) == "4e-216"
    assert written(math.log(9.7e-8)) == "1e-7"
    assert log10(math.log(1e-20)) == pytest.approx(-20)


@pytest.mark.parametrize("n", [1, 2, 7, 60, 128])
def test_assignment(n: int) -> None:
    random = np.random.default_rng(n)
    for score in (
        random.normal(size=(n, n)),
        np.round(random.normal(size=(n, n))),
        np.ones((n, n)),
    ):
        ours = assign(score)
        rows, columns = scipy.optimize.linear_sum_assignment(score, maximize=True)
        assert sorted(ours.tolist()) == list(range(n))
        assert score[np.arange(n), ours].sum() == pytest.approx(score[rows, columns].sum())
