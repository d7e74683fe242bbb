"""Models that share nothing: the p-values are uniform, or larger. Networks are random, trained
here, or layers of a real model (each layer has an order of units of its own).
"""

import math
import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import scipy

from outlast.codec.memory import InMemory, read
from outlast.codec.tensors import Tensor, parse
from outlast.core.cancel import Cancel
from outlast.features.lineage.roles import TensorPlace, TensorRole, places
from outlast.features.lineage.statistics import log_p_signs, log_p_spearman
from outlast.features.lineage.tuning import TUNING
from outlast.features.lineage.weight_tests import Halves, match_rho, unit_signs, value_signs
from outlast.features.lineage.weights import Matrix
from tests import campaign
from tests.realweights import smollm2_gguf

Rows = npt.NDArray[np.float32]
Ps = list[float]


def matrix(values: npt.NDArray[np.floating]) -> Matrix:
    data = np.ascontiguousarray(values, np.float32).tobytes()
    return Matrix(InMemory(data), Tensor("t", "F32", values.shape, 0, len(data)), 0, len(values))


def rows_p(one: Matrix, other: Matrix, seed: int) -> float:
    found = match_rho(one, other, np.random.default_rng(seed), TUNING)
    assert found is not None
    return math.exp(log_p_spearman(*found))


def signs_p(signs: tuple[int, int]) -> float:
    return math.exp(log_p_signs(*signs))


def is_uniform(ps: list[float]) -> bool:
    return bool(scipy.stats.kstest(ps, "uniform").pvalue > 1e-3)


def is_at_least_uniform(ps: list[float]) -> bool:
    """Of discrete p-values: no bound is met more often than it says (one chance in 1,000)."""
    return all(
        scipy.stats.binomtest(
            sum(p <= bound for p in ps), len(ps), bound, alternative="greater"
        ).pvalue
        > 1e-3
        for bound in (0.01, 0.05, 0.1, 0.3, 0.5)
    )


def trained(seed: int, steps: int) -> tuple[Rows, Rows, Rows]:
    """Gate, up and value of a small network after `steps` of Adam: one task for all seeds, which
    begin at random. A value matrix with its output, then a gated MLP, each beside a residual.
    """
    task = np.random.default_rng(0)
    width, hidden = 24, 48
    inputs = task.normal(size=(256, width)) * (1 + np.arange(width) / 8)
    target = np.tanh(inputs @ task.normal(size=(width, width)) / 4) + 0.5
    random = np.random.default_rng(seed)
    w = {
        name: random.normal(size=shape) / math.sqrt(shape[1])
        for name, shape in {
            "v": (width, width),
            "o": (width, width),
            "g": (hidden, width),
            "u": (hidden, width),
            "d": (width, hidden),
        }.items()
    }
    first = {name: np.zeros_like(one) for name, one in w.items()}
    second = {name: np.zeros_like(one) for name, one in w.items()}
    for step in range(1, steps + 1):
        x = inputs[random.integers(0, len(inputs), 32)]
        y = target[[int(np.flatnonzero((inputs == row).all(axis=1))[0]) for row in x]]
        v = x @ w["v"].T
        h = x + v @ w["o"].T
        g, u = h @ w["g"].T, h @ w["u"].T
        gate = 1 / (1 + np.exp(-g))
        silu = g * gate
        error = (h + (silu * u) @ w["d"].T - y) / len(x)
        inner = error @ w["d"]
        dg, du = inner * u * gate * (1 + g * (1 - gate)), inner * silu
        dh = error + dg @ w["g"] + du @ w["u"]
        slopes = {
            "d": error.T @ (silu * u),
            "g": dg.T @ h,
            "u": du.T @ h,
            "o": dh.T @ v,
            "v": (dh @ w["o"]).T @ x,
        }
        for name, slope in slopes.items():
            first[name] = 0.9 * first[name] + 0.1 * slope
            second[name] = 0.99 * second[name] + 0.01 * slope**2
            moved = (
                first[name] / (1 - 0.9**step) / (np.sqrt(second[name] / (1 - 0.99**step)) + 1e-8)
            )
            w[name] = w[name] - 0.01 * moved
    return tuple(w[name].astype(np.float32) for name in "guv")  # type: ignore[return-value]


def check_trained(networks: int, steps: int) -> None:
    """All pairs of neighbours: each network is in two of them."""
    made = [tuple(map(matrix, trained(seed, steps))) for seed in range(networks)]
    rows, units, values = Ps(), Ps(), Ps()
    for seed, ((g, u, v), (g2, u2, v2)) in enumerate(zip(made, made[1:] + made[:1], strict=True)):
        rows.append(rows_p(g, g2, seed))
        units.append(signs_p(unit_signs(Halves(g, u), Halves(g2, u2), Cancel(), TUNING)))
        values.append(signs_p(value_signs(v, v2, TUNING)))
    assert is_uniform(rows)
    assert is_at_least_uniform(units)
    assert is_at_least_uniform(values)


def test_networks_that_were_trained_alike() -> None:
    check_trained(12, 60)


@pytest.mark.torture
@pytest.mark.skipif(not campaign.LONG, reason="200 pairs: make torture")
def test_200_networks_that_were_trained_alike() -> None:
    check_trained(200, 1000)


@pytest.mark.torture
@pytest.mark.skipif(not campaign.LONG, reason="200 pairs: make torture")
def test_200_random_pairs() -> None:
    ps = []
    for seed in range(200):
        random = np.random.default_rng(1000 + seed)
        shared = random.normal(size=64)
        one = random.normal(size=(192, 64)) + random.random((192, 1)) * shared
        other = random.normal(size=(192, 64)) + random.random((192, 1)) * shared
        ps.append(rows_p(matrix(one), matrix(other), seed))
    assert is_uniform(ps)


def layers_of_smollm2() -> Iterator[tuple[Matrix, Matrix, Matrix]]:
    with smollm2_gguf().open("rb") as file:
        blob = InMemory(file.read())
    container = parse(lambda offset, length: read(blob, offset, length), blob.size)
    assert container is not None
    found = places(container.tensors)
    for layer in range(30):
        tensors = [
            found[TensorPlace("", layer, role)]
            for role in (TensorRole.GATE, TensorRole.UP, TensorRole.VALUE)
        ]
        g, u, v = (Matrix(blob, one, 0, one.shape[0]) for one in tensors)
        yield g, u, v


@pytest.mark.torture
@pytest.mark.skipif(not campaign.LONG, reason="435 pairs of layers: make torture")
def test_layers_of_a_real_model() -> None:
    made = list(layers_of_smollm2())
    rows, units, values = Ps(), Ps(), Ps()
    for at, (g, u, v) in enumerate(made):
        for g2, u2, v2 in made[:at]:
            rows.append(rows_p(g, g2, len(rows)))
            values.append(signs_p(value_signs(v, v2, TUNING)))
            if len(rows) % 4 == 0:
                units.append(signs_p(unit_signs(Halves(g, u), Halves(g2, u2), Cancel(), TUNING)))
    if path := os.environ.get("OUTLAST_NULL_OUT"):
        np.savez(path, rows=rows, units=units, values=values)
    assert is_uniform(rows), scipy.stats.kstest(rows, "uniform")
    assert is_at_least_uniform(units)
    assert is_at_least_uniform(values)
