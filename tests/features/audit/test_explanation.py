"""Explanations of a divergent endpoint: never more certain than the answers allow."""

import math
from array import array

import numpy as np
import pytest

from outlast.engines.scoring.base import ScoredPosition
from outlast.features.audit.evidence import AuditFinding, Verdict, explained, ranked
from outlast.features.audit.explaining import tempered
from outlast.features.audit.statistics.explanation import (
    MIXED,
    OTHER,
    by_distance,
    by_likelihood,
)

HONEST = 0.05


def rows(mean: float, count: int, seed: int = 0) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [[float(x)] for x in rng.gamma(9, mean / 9, count)]


def test_what_is_as_near_as_honest_answers_is_the_explanation() -> None:
    found = by_distance({"own": rows(1.1, 8), "int4": rows(HONEST, 8), "fp8": rows(0.9, 8)}, HONEST)
    assert sum(found.values()) == pytest.approx(1)
    assert max(found, key=found.__getitem__) == "int4"
    assert found["int4"] > 0.9
    assert found["own"] < 1e-6


def test_the_order_of_candidates_is_nothing_to_the_shares() -> None:
    """A report has them sorted, and is replayed from that."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        near = {name: rows(HONEST * rng.uniform(0.8, 1.2), 4, seed) for name in "abcdefg"}
        turned = dict(reversed(near.items()))
        assert by_distance(near, HONEST) == by_distance(turned, HONEST)


def test_one_answer_is_little() -> None:
    """The nearest of several is not believed for one answer, nor for alike ones ever."""
    one = by_distance({"int4": rows(HONEST, 1), "fp8": rows(2 * HONEST, 1)}, HONEST)
    assert one["int4"] < 0.8
    same = by_distance({"int4": rows(HONEST, 50), "fp8": rows(HONEST, 50)}, HONEST)
    assert same["int4"] == pytest.approx(same["fp8"])
    assert same["int4"] < 0.5


def test_where_nothing_is_near_none_of_these_is_said() -> None:
    far = {"own": rows(1.0, 8), "int4": rows(0.8, 8), "fp8": rows(0.9, 8)}
    assert by_distance(far, HONEST)[OTHER] > 0.99
    assert by_distance({name: one[:1] for name, one in far.items()}, HONEST)[OTHER] > 0.8


def test_how_often_the_truth_is_named_as_it_says() -> None:
    """Of explanations with a share of .9 and more, at least as many are true."""
    said: list[bool] = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        true = str(rng.choice(["int8", "fp8", "int4"]))
        off = {"int8": 1.5, "fp8": 2.5, "int4": 4.0}
        far = {n: HONEST * (1 if n == true else one) for n, one in off.items()}
        noise = {n: rows(one, 12, 7 * seed + k) for k, (n, one) in enumerate(far.items())}
        found = by_distance(noise, HONEST)
        said += [name == true for name, share in found.items() if share >= 0.9]
    assert len(said) > 20
    assert np.mean(said) >= 0.9


def test_likelihoods_of_texts() -> None:
    found = by_likelihood({"own": [-10, -10], "int4": [-7, -8], "fp8": [-9, -9.5]})
    mixed = sum(
        math.log(sum(map(math.exp, column)) / 3) for column in ((-10, -7, -9), (-10, -8, -9.5))
    )
    total = math.exp(-20) + math.exp(-15) + math.exp(-18.5) + math.exp(mixed) + math.exp(-15)
    assert found["int4"] == pytest.approx(math.exp(-15) / total)
    assert found[MIXED] == pytest.approx(math.exp(mixed) / total)
    # Answers that are from different weights.
    apart = by_likelihood({"own": [-1.0, -30] * 5, "int4": [-30, -1.0] * 5})
    assert 0.49 < apart[MIXED] <= 0.5
    assert apart[OTHER] == apart[MIXED]


def test_a_list_at_another_temperature() -> None:
    logits = np.array([2.0, 1.0, 0.0, -1.0])
    own = logits - np.log(np.exp(logits).sum())
    cold = logits / 0.5 - np.log(np.exp(logits / 0.5).sum())
    position = ScoredPosition(0, array("q", range(4)), array("d", own), (b"a", b"b", b"c", b"d"))
    assert list(tempered(position, 0.5).logprobs) == pytest.approx(list(cold), abs=1e-6)


def test_only_divergence_is_explained() -> None:
    honest = {"bf16": rows(HONEST, 20)}
    near = {"int4": rows(HONEST, 8)}
    consistent = AuditFinding(Verdict.CONSISTENT, "")
    assert explained(consistent, near, honest) == consistent
    divergent = AuditFinding(Verdict.DIVERGENT, "")
    assert explained(divergent, {}, honest) == divergent
    found = explained(divergent, near, honest).explanations
    assert found is not None
    assert [name for name, _ in ranked(found)] == ["int4", OTHER]
    assert ranked({"own": 0.5, "a": 0.009, "b": 0.491})[0] == ("the archived weights", 0.5)
