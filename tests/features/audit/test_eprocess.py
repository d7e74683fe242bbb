"""Evidence from sampled text: valid whenever one stops, by simulation, and with power."""

import math
from array import array
from typing import Any

import numpy as np
import pytest

from outlast.engines.scoring.base import ScoredPosition
from outlast.features.audit.evidence import Verdict, judge_sampled
from outlast.features.audit.statistics.eprocess import (
    Floats,
    Simulated,
    anytime_p,
    log_evidence,
    of_sums,
    threshold,
)
from outlast.features.audit.statistics.outcomes import (
    SAMPLING,
    LikelyTokens,
    index_of,
    outcomes,
    sampled_otherwise,
    under,
)

RUNS, TOKENS, WORDS, KEEP, ALPHA = 10_000, 120, 40, 12, 0.05


def listed(logits: Floats, keep: int = KEEP) -> LikelyTokens:
    """The likeliest tokens of a distribution; token 3 ends an answer."""
    logs = logits - np.log(np.exp(logits).sum())
    order = np.argsort(-logs)[:keep]
    pieces = tuple(b"" if one == 3 else b"x" for one in order)
    return LikelyTokens.of(
        ScoredPosition(0, array("q", order.tolist()), array("d", logs[order]), pieces)
    )


def position(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The true distribution of words; and the log probabilities of all words under each hypothesis,
    of which the first two are honest, 0 where a word is no outcome: (hypotheses, words).
    """
    logits = rng.normal(size=WORDS) * 2
    own, other = listed(logits), listed(logits + rng.normal(size=WORDS) * 0.02)
    noisy = logits + rng.normal(size=WORDS) * 0.3
    base = outcomes(own)
    tables = [base, under(own, other, honest=True), under(own, listed(noisy), honest=False)]
    tables += sampled_otherwise(base).values()
    found = np.zeros((len(tables), WORDS))
    for word in range(WORDS):
        if (at := index_of(own, word)) is not None:
            found[:, word] = np.array(tables)[:, at]
    true = np.exp(logits)
    return true / true.sum(), found


def paths(seed: int) -> tuple[Floats, Floats]:
    """Of many runs in which the endpoint is honest, the highest log evidence at any time; and the
    same of a wrong one, that takes the best alternative for the mixture.
    """
    rng = np.random.default_rng(seed)
    sums: Any = 0
    highest, wrong = np.full(RUNS, -np.inf), np.full(RUNS, -np.inf)
    for _ in range(TOKENS):
        true, tables = position(rng)
        words = rng.choice(WORDS, size=RUNS, p=true)
        # An answer that ends says nothing, and the next one begins.
        sums = sums + tables[:, words].T
        highest = np.maximum(highest, of_sums(sums[:, :2], sums[:, 2:]))
        wrong = np.maximum(wrong, (sums[:, 2:].max(axis=1) - sums[:, :2].max(axis=1)))
    return highest, wrong


@pytest.mark.parametrize("seed", [1, 2])
def test_an_honest_endpoint_alarms_at_most_as_often_as_said(seed: int) -> None:
    """Also for the rule that stops when the evidence is highest, which bounds all other rules."""
    highest, wrong = paths(seed)
    for alpha in (0.01, 0.05, 0.2):
        share = float(np.mean(highest >= threshold(alpha)))
        assert share <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / RUNS)
    # The bound is not empty: what is a little wrong passes it.
    assert np.mean(highest >= threshold(0.2)) > 0.02
    assert np.mean(wrong >= threshold(ALPHA)) > ALPHA


def test_rules_of_stopping() -> None:
    """At a fixed time, at the first sign, and by a rule that looks at the answer's own words."""
    rng = np.random.default_rng(9)
    stopped: list[Floats] = []
    sums: Any = 0
    first = np.full(RUNS, np.nan)
    for _ in range(60):
        true, tables = position(rng)
        words = rng.choice(WORDS, size=RUNS, p=true)
        sums = sums + tables[:, words].T
        now = of_sums(sums[:, :2], sums[:, 2:])
        first = np.where(np.isnan(first) & ((now > 1) | (words == 7)), now, first)
    stopped += [now, np.where(np.isnan(first), now, first)]
    for evidence in stopped:
        assert np.mean(evidence >= threshold(ALPHA)) <= ALPHA
        # The expectation of the evidence is at most 1.
        assert np.mean(np.minimum(np.exp(evidence), 1e3)) <= 1.1


def test_all_hypotheses_are_distributions_over_the_same_outcomes() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        logits = rng.normal(size=WORDS) * 2
        own, other = listed(logits), listed(logits + rng.normal(size=WORDS))
        base = outcomes(own)
        assert len(base) == KEEP - (3 in own.ids)
        for one in (base, under(own, other, honest=False), *sampled_otherwise(base).values()):
            assert np.exp(one).sum() == pytest.approx(1, abs=1e-9)
        assert under(own, listed(logits, WORDS), honest=True) == pytest.approx(base, abs=1e-9)
        # A bound from above: never less than what the whole list would say.
        true = logits + rng.normal(size=WORDS)
        short = under(own, listed(true), honest=True)
        assert (short >= under(own, listed(true, WORDS), honest=True) - 1e-9).all()


def test_unlikely_tokens_are_no_outcomes() -> None:
    own = listed(np.arange(WORDS, dtype=np.float64))
    assert index_of(own, WORDS - 1) == 0
    assert index_of(own, 0) is None  # not in the list
    assert index_of(own, WORDS - 9) is None  # e ** -8.5
    assert index_of(own, WORDS - 8) == 7
    assert len(outcomes(own)) == 8
    assert index_of(listed(np.array([0.0, 0, 0, 50])), 3) == 0  # one is left in any case


def test_known_values() -> None:
    honest = np.log([[0.5, 0.25], [0.5, 0.25]])
    others = np.log([[0.25, 0.5], [0.25, 0.5]])
    found = log_evidence(honest, others)
    assert found == pytest.approx([math.log(0.375 / 0.5), math.log((1 / 16 + 1 / 4) / 2 / 0.25)])
    assert threshold(0.05) == pytest.approx(math.log(20))
    assert anytime_p(math.log(20)) == pytest.approx(0.05)
    assert anytime_p(-3) == 1


def test_simulated_runs_find_what_is_true() -> None:
    rng = np.random.default_rng(5)
    simulated = Simulated(2, 1 + len(SAMPLING), 100)
    for _ in range(600):
        _, tables = position(rng)
        simulated.add(tables[:, tables[0] < 0])
    found = np.mean(simulated.highest >= threshold(ALPHA), axis=1)
    assert found[0] <= 0.1
    assert found[1] >= 0.9  # the noisy weights
    assert found[2] >= 0.9  # temperature 0.7


def answers(count: int, ratio: float) -> list[list[dict[str, list[float]]]]:
    return [[{"honest": [-1.0], "alternatives": [-1.0 + ratio]} for _ in range(count)]]


def test_verdicts() -> None:
    power = {"int4": [[5.0] * 10], "int8": [[0.0] * 10]}
    assert judge_sampled(answers(10, 0.4), power, ALPHA).verdict is Verdict.DIVERGENT
    found = judge_sampled(answers(10, 0.2), power, ALPHA)
    assert (found.verdict, found.power) == (Verdict.CONSISTENT, {"int4": 1.0, "int8": 0.0})
    assert found.p_value == pytest.approx(math.exp(-2))
    blind = judge_sampled(answers(10, 0.2), {"int8": [[0.0]]}, ALPHA)
    assert blind.verdict is Verdict.INCONCLUSIVE
    assert judge_sampled([], power, ALPHA).verdict is Verdict.UNTESTABLE
    # What was once seen stays seen.
    later = [*answers(10, 0.4), *answers(30, -0.4)]
    assert judge_sampled(later, power, ALPHA).verdict is Verdict.DIVERGENT
