"""Tests whether two models share weights. Each p-value holds under one assumption about models that
do not, which the way that networks are trained gives: docs/lineage.md derives it.

`rows` (Zhu et al., ICML 2025): the hidden units of an MLP have no order of their own, so between
independent models the best assignment of units is a random permutation. `units` and `values`: the
sign of a row of `up` (of a gated MLP) or of `value` can be turned together with a column of the
next matrix, and nothing changes; so between independent models the signs of cosines of such rows
are fair coins, whatever chose the rows without a look at these signs.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from outlast.codec.tensors import Tensor
from outlast.core.cancel import Cancel
from outlast.features.lineage import statistics
from outlast.features.lineage.assignment import assign
from outlast.features.lineage.dequant import Floats
from outlast.features.lineage.roles import TensorRole, layer_pairs
from outlast.features.lineage.tuning import TUNING, Tuning
from outlast.features.lineage.weights import Matrix, Weights, directions, spread

_TIE: Final = 1e-7
_PARALLEL: Final = 0.999
"""Of the cosine of two rows. Of two random rows of 64 columns it is below 0.6."""


class WeightTest(StrEnum):
    """A test of the weights."""

    ROWS = "rows"
    """Rows at the same places are each other's best match."""
    UNITS = "units"
    """Hidden units, in whatever order, have the same signs."""
    VALUES = "values"
    """Rows of the values of the attention have the same signs."""
    SHAPES = "shapes"
    """As `rows`, between tensors that only their shapes match."""


@dataclass(frozen=True, slots=True)
class WeightTestFound:
    """What a test found: `log_p` is the natural logarithm of its p-value; `statistic` is the mean
    rho for `rows` and `shapes`, and the share of equal signs for the others; `count` is that of
    the rows that were compared, in `layers` layers.
    """

    test: WeightTest
    log_p: float
    statistic: float
    count: int
    layers: int


def weight_tests(
    one: Weights, other: Weights, *, seed: int, cancel: Cancel, tuning: Tuning = TUNING
) -> list[WeightTestFound]:
    """All tests that the two models allow; those that look for moved units only where the others
    find nothing, as they read whole tensors. `seed` decides between equal scores.
    """
    random = np.random.default_rng(seed)
    found = [
        test
        for test in (_rows(one, other, random, tuning), _values(one, other, tuning))
        if test is not None
    ]
    cancel.check()
    if not found:
        test = _shapes(one, other, random, tuning)
        found += [] if test is None else [test]
    strong = np.log(tuning.alpha) - 10.0
    if all(test.log_p > strong for test in found):
        test = _units(one, other, cancel, tuning)
        found += [] if test is None else [test]
    return found


def best_log_p(found: list[WeightTestFound]) -> float:
    """One p-value of all tests of a pair (Bonferroni over those that there are)."""
    if not found:
        return 0.0
    return min(0.0, min(test.log_p for test in found) + float(np.log(len(WeightTest))))


def match_rho(
    one: Matrix, other: Matrix, random: np.random.Generator, tuning: Tuning
) -> tuple[float, int] | None:
    """Spearman's rho between the places of rows and those of their best matches, and how many
    rows. None where too few have a direction. Rows of the other are shuffled first: what has equal
    scores falls at random.
    """
    at = spread(min(one.rows, other.rows), tuning.rows)
    mine, theirs = directions(one.take(at)), directions(other.take(at))
    width = min(mine.shape[1], theirs.shape[1])
    mine, theirs = mine[:, :width], theirs[:, :width]
    usable = np.flatnonzero(np.abs(mine).any(axis=1) & np.abs(theirs).any(axis=1))
    if len(usable) < tuning.least_rows:
        return None
    shuffled = random.permutation(len(usable))
    score = (mine[usable] @ theirs[usable][shuffled].T).astype(np.float64)
    score += _TIE * random.random(score.shape)
    order = shuffled[assign(score)]
    return statistics.spearman(order.tolist()), len(usable)


def _rows(
    one: Weights, other: Weights, random: np.random.Generator, tuning: Tuning
) -> WeightTestFound | None:
    """Of each pair of layers the gate, else the first matrix; layers are independent tests, as
    each has an order of units of its own.
    """
    rhos: list[tuple[float, int]] = []
    for part, mine, theirs in layer_pairs(one.places, other.places, tuning.layers):
        for role in (TensorRole.GATE, TensorRole.UP):
            first, second = one.matrix(part, mine, role), other.matrix(part, theirs, role)
            if first is None or second is None or first.columns != second.columns:
                continue
            if first.rows != second.rows:
                continue
            rho = match_rho(first, second, random, tuning)
            if rho is not None:
                rhos.append(rho)
                break
    return _combined(WeightTest.ROWS, rhos)


def _combined(test: WeightTest, rhos: list[tuple[float, int]]) -> WeightTestFound | None:
    if not rhos:
        return None
    log_p = statistics.log_p_fisher([statistics.log_p_spearman(rho, n) for rho, n in rhos])
    mean = sum(rho for rho, _ in rhos) / len(rhos)
    return WeightTestFound(test, log_p, mean, sum(n for _, n in rhos), len(rhos))


def _values(one: Weights, other: Weights, tuning: Tuning) -> WeightTestFound | None:
    positive = count = layers = 0
    for part, mine, theirs in layer_pairs(one.places, other.places, tuning.layers):
        first = one.matrix(part, mine, TensorRole.VALUE)
        second = other.matrix(part, theirs, TensorRole.VALUE)
        if first is None or second is None or first.columns != second.columns:
            continue
        if first.rows != second.rows:
            continue
        heads, coins = value_signs(first, second, tuning)
        positive, count, layers = positive + heads, count + coins, layers + 1
    return _signs(WeightTest.VALUES, positive, count, layers, tuning)


def value_signs(one: Matrix, other: Matrix, tuning: Tuning) -> tuple[int, int]:
    """Of rows at the same places of two matrices of one shape: how many have a positive cosine, of
    how many that have one.
    """
    at = spread(one.rows, tuning.rows)
    return _heads(one.take(at), other.take(at))


def _heads(mine: Floats, theirs: Floats) -> tuple[int, int]:
    """Rows that are parallel to an earlier one of their model do not count: constant weights would
    be one coin thrown many times.
    """
    first, second = directions(mine), directions(theirs)
    cosines = (first * second).sum(axis=1)
    counted = (cosines != 0) & _is_new(first) & _is_new(second)
    return int((cosines[counted] > 0).sum()), int(counted.sum())


def _is_new(rows: Floats) -> npt.NDArray[np.bool_]:
    """Of rows of length 1: whether none of those before is parallel."""
    parallel = np.abs(np.tril(rows @ rows.T, -1)) > _PARALLEL
    found: npt.NDArray[np.bool_] = np.logical_not(parallel.any(axis=1))
    return found


def _signs(
    test: WeightTest, positive: int, count: int, layers: int, tuning: Tuning
) -> WeightTestFound | None:
    if count < tuning.least_rows:
        return None
    return WeightTestFound(
        test, statistics.log_p_signs(positive, count), positive / count, count, layers
    )


@dataclass(frozen=True, slots=True)
class Halves:
    """The gate and the `up` of one gated MLP: row i of both is hidden unit i."""

    gate: Matrix
    up: Matrix

    def fits(self, other: "Halves") -> bool:
        """Whether units of both can be compared."""
        widths = self.gate.columns == other.gate.columns and self.up.columns == other.up.columns
        return widths and all(one.gate.rows == one.up.rows for one in (self, other))


def _units(one: Weights, other: Weights, cancel: Cancel, tuning: Tuning) -> WeightTestFound | None:
    positive = count = layers = 0
    for part, mine, theirs in layer_pairs(one.places, other.places, 1):
        first, second = _halves(one, part, mine), _halves(other, part, theirs)
        if first is None or second is None or not first.fits(second):
            continue
        heads, coins = unit_signs(first, second, cancel, tuning)
        positive, count, layers = positive + heads, count + coins, layers + 1
    return _signs(WeightTest.UNITS, positive, count, layers, tuning)


def _halves(weights: Weights, part: str, layer: int) -> Halves | None:
    gate = weights.matrix(part, layer, TensorRole.GATE)
    up = weights.matrix(part, layer, TensorRole.UP)
    return None if gate is None or up is None else Halves(gate, up)


def unit_signs(one: Halves, other: Halves, cancel: Cancel, tuning: Tuning) -> tuple[int, int]:
    """Rows of the gate find their best match among all rows of the other's gate: of the matched
    units, how many have rows of `up` with a positive cosine, of how many. Of two rows that match
    one unit the better counts: else one coin would count twice.
    """
    at = np.array(spread(one.gate.rows, tuning.rows), dtype=np.int64)
    rows = directions(one.gate.take(at.tolist()))
    matched, score = best_matches(rows, other.gate, cancel, tuning)
    best: dict[int, int] = {}
    for row in np.argsort(-score, kind="stable").tolist():
        if score[row] > 0:
            best.setdefault(int(matched[row]), row)
    if not best:
        return 0, 0
    mine = one.up.take([int(at[row]) for row in best.values()])
    return _heads(mine, other.up.take(list(best)))


def best_matches(
    rows: Floats, among: Matrix, cancel: Cancel, tuning: Tuning
) -> tuple[npt.NDArray[np.int64], Floats]:
    """For each of `rows` (of length 1) the number of its nearest row in a matrix, by cosine, and
    that cosine. Reads the whole matrix, in chunks.
    """
    matched = np.zeros(len(rows), dtype=np.int64)
    score = np.full(len(rows), -np.inf, dtype=np.float32)
    for start, chunk in among.chunks(tuning.chunk):
        cancel.check()
        cosines = rows @ directions(chunk)[:, : rows.shape[1]].T
        nearest = cosines.argmax(axis=1)
        value = cosines[np.arange(len(rows)), nearest]
        better = value > score
        matched[better] = start + nearest[better]
        score[better] = value[better]
    return matched, score


_MOST_TENSORS: Final = 16


def _shapes(
    one: Weights, other: Weights, random: np.random.Generator, tuning: Tuning
) -> WeightTestFound | None:
    """For names that say nothing: tensors of one shape in the order of the files. The pair whose
    rows are nearest is tested, and its p-value multiplied by the number of pairs.
    """
    mine, theirs = _tall(one, tuning), _tall(other, tuning)
    pairs = [(a, b) for a in mine for b in theirs if a.shape == b.shape]
    if not pairs:
        return None

    def nearness(pair: tuple[Tensor, Tensor]) -> float:
        first, second = one.of(pair[0]), other.of(pair[1])
        at = spread(first.rows, tuning.least_rows)
        return float((directions(first.take(at)) * directions(second.take(at))).sum())

    best = max(pairs, key=nearness)
    rho = match_rho(one.of(best[0]), other.of(best[1]), random, tuning)
    found = _combined(WeightTest.SHAPES, [] if rho is None else [rho])
    if found is None:
        return None
    log_p = min(0.0, found.log_p + float(np.log(len(pairs))))
    return WeightTestFound(WeightTest.SHAPES, log_p, found.statistic, found.count, 1)


def _tall(weights: Weights, tuning: Tuning) -> list[Tensor]:
    """Matrices that can be the first of an MLP: more rows than columns, of a shape that is there
    more than once (which embeddings are not), in the order of the files.
    """
    found = [tensor for _, tensor in weights.tensors.values() if len(tensor.shape) == 2]
    shapes = [tensor.shape for tensor in found]
    return [
        tensor
        for tensor in found
        if tensor.shape[0] > tensor.shape[1] >= 1
        and tensor.shape[0] >= tuning.least_rows
        and shapes.count(tensor.shape) > 1
    ][:_MOST_TENSORS]
