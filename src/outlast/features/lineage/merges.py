"""Whether a model lies between others: an average of their weights, as merges make it."""

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from outlast.features.lineage.roles import TensorRole, layer_pairs
from outlast.features.lineage.tuning import TUNING, Tuning
from outlast.features.lineage.weights import Weights, spread

_ROWS: Final = 32
_ROLES: Final = (TensorRole.GATE, TensorRole.UP, TensorRole.VALUE)
_MOST: Final = 3
_LEAST: Final = 0.02


@dataclass(frozen=True, slots=True)
class Between:
    """A model is the sum of its parents by their `shares`, each above 0 and all of them 1;
    `residue` is what that leaves of the squared distance to the nearest parent.
    """

    parents: tuple[int, ...]
    shares: tuple[float, ...]
    residue: float


def between(model: Weights, others: list[Weights], tuning: Tuning = TUNING) -> Between | None:
    """The fewest parents (2 or 3) that explain the model as an average, and of these the best; by
    the rows that all have. None where there are none, or the model has the weights of one.
    """
    rows = [pair for other in others if (pair := _differences(model, other, tuning)) is not None]
    if len(rows) != len(others) or len({len(row) for row in rows}) != 1:
        return None
    found = np.stack(rows)
    products = found @ found.T
    if not np.isfinite(products).all() or np.diag(products).min() <= 0.0:
        return None
    for count in range(2, _MOST + 1):
        fits = [
            fit
            for parents in combinations(range(len(others)), count)
            if (fit := _fit(products, parents, tuning)) is not None
        ]
        if fits:
            return min(fits, key=lambda fit: fit.residue)
    return None


def _fit(
    products: npt.NDArray[np.float64], parents: tuple[int, ...], tuning: Tuning
) -> Between | None:
    """The smallest affine combination of the differences: shares that add up to 1."""
    gram = products[np.ix_(parents, parents)]
    least = float(np.diag(gram).min())
    try:
        shares = np.linalg.solve(gram + 1e-12 * least * np.eye(len(parents)), np.ones(len(parents)))
    except np.linalg.LinAlgError:
        return None
    total = float(shares.sum())
    if total == 0.0:
        return None
    shares = shares / total
    residue = float(shares @ gram @ shares) / least
    if not np.isfinite(residue) or residue > tuning.merge_residue or shares.min() < _LEAST:
        return None
    return Between(parents, tuple(map(float, shares)), residue)


def _differences(model: Weights, other: Weights, tuning: Tuning) -> npt.NDArray[np.float64] | None:
    parts = []
    for part, mine, theirs in layer_pairs(model.places, other.places, tuning.layers):
        for role in _ROLES:
            first, second = model.matrix(part, mine, role), other.matrix(part, theirs, role)
            if first is None or second is None:
                continue
            if (first.rows, first.columns) != (second.rows, second.columns):
                return None
            at = spread(first.rows, _ROWS)
            values = second.take(at).astype(np.float64) - first.take(at)
            parts.append(values.ravel())
    return np.concatenate(parts) if parts else None
