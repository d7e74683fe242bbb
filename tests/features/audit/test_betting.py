"""Evidence over many audits: an honest endpoint is safe for ever, a partly changed one is found."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from outlast.features.audit.statistics.betting import FRACTIONS, bet, e_value, log_wealth
from outlast.features.audit.statistics.eprocess import Floats

RUNS, ROUNDS, ALPHA = 10_000, 100, 0.05


@pytest.mark.parametrize("p", [1e-9, 0.01, 0.3, 0.999])
def test_an_e_value_is_the_mean_over_all_calibrators(p: float) -> None:
    found, _ = quad(lambda k: k * p ** (k - 1), 0, 1, epsabs=1e-12)
    assert e_value(p) == pytest.approx(found, rel=1e-9)


def test_its_expectation_is_one_and_its_limit_a_half() -> None:
    found, _ = quad(lambda log: e_value(math.exp(-log)) * math.exp(-log), 1e-9, 700, limit=500)
    assert found == pytest.approx(1, abs=2e-3)  # most of the rest lies below exp(-700)
    assert e_value(1 - 1e-6) == pytest.approx(0.5, abs=1e-5)
    assert e_value(1) == 0.5
    for p in (0.0, -1.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="p-value"):
            e_value(p)


def wealths(
    e: Floats,
) -> Floats:
    """The logarithm of the mean wealth after each e-value of each run."""
    logs = np.array([np.cumsum(np.log1p(f * (e - 1)), axis=1) for f in FRACTIONS])
    highest = logs.max(axis=0)
    found: Floats = highest + np.log(np.exp(logs - highest).mean(axis=0))
    return found


def uniform(seed: int) -> Floats:
    return np.random.default_rng(seed).random((RUNS, ROUNDS))


def test_the_wealth_is_that_of_each_bet() -> None:
    values = [0.5, 3.0, 0.0, 40.0]
    wealth = [0.0] * len(FRACTIONS)
    for e in values:
        wealth = bet(wealth, e)
    assert all(map(math.isfinite, wealth))
    row = np.array([[max(one, 1e-12) for one in values]])
    assert log_wealth(wealth) == pytest.approx(float(wealths(row)[0, -1]))


@pytest.mark.parametrize("seed", [1, 2])
def test_honest_endpoints_raise_no_more_alarms_than_is_said(seed: int) -> None:
    """Looked at after each audit, with the worst rule of stopping."""
    e = np.vectorize(e_value)(np.maximum(uniform(seed), 1e-300))
    alarms = (wealths(e).max(axis=1) >= -math.log(ALPHA)).mean()
    assert alarms <= ALPHA


def test_one_audit_in_ten_that_differs_is_found() -> None:
    rng = np.random.default_rng(3)
    p = np.where(rng.random((RUNS, ROUNDS)) < 0.1, 1e-3, uniform(4))
    found = wealths(np.vectorize(e_value)(p)) >= -math.log(ALPHA)
    assert found.any(axis=1).mean() >= 0.95
