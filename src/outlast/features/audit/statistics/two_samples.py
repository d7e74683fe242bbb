"""Test D: whether two endpoints answer alike, without weights.

The maximum mean discrepancy with the kernel of Hamming (Gao et al., Model Equality Testing, 2024):
the similarity of two answers to one prompt is the share of positions that are equal. Its p-value
comes from permuting the answers of each prompt, so it holds for any number of answers.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

Ints: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"


def hamming_kernel(answers: Sequence[Sequence[int]]) -> Floats:
    """For each pair of answers the share of equal positions; a shorter one is filled with a token
    that all fillings share. Shape: (answers, answers).
    """
    length = max((len(one) for one in answers), default=0)
    if not length:
        raise ValueError("answers without tokens")
    rows = np.full((len(answers), length), -1, dtype=np.int64)
    for row, one in zip(rows, answers, strict=True):
        row[: len(one)] = one
    return np.stack([(rows == row).mean(axis=1) for row in rows])


def discrepancy(kernel: Floats, first: Sequence[int]) -> float:
    """The unbiased estimate of MMD² between the answers numbered in `first` and the others; at
    least 2 on each side.
    """
    mask = np.zeros(len(kernel), dtype=bool)
    mask[list(first)] = True
    m, n = int(mask.sum()), int((~mask).sum())
    if min(m, n) < 2:
        raise ValueError("a side with fewer than 2 answers")
    within_m = kernel[np.ix_(mask, mask)]
    within_n = kernel[np.ix_(~mask, ~mask)]
    between = kernel[np.ix_(mask, ~mask)].mean()
    a = (within_m.sum() - np.trace(within_m)) / (m * (m - 1))
    b = (within_n.sum() - np.trace(within_n)) / (n * (n - 1))
    return float(a + b - 2 * between)


def two_sample_p_value(
    prompts: Sequence[tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]]],
    draws: int = 999,
    seed: int = 0,
) -> tuple[float, float]:
    """The mean MMD² over prompts, and its p-value. A prompt is (answers of one endpoint, those of
    the other). The p-value is a multiple of 1/(`draws` + 1).
    """
    rng = np.random.default_rng(seed)
    kernels = [(hamming_kernel([*a, *b]), len(a)) for a, b in prompts]
    found = float(np.mean([discrepancy(k, range(m)) for k, m in kernels]))
    reached = 1
    for _ in range(draws):
        drawn = [discrepancy(k, rng.permutation(len(k))[:m].tolist()) for k, m in kernels]
        reached += float(np.mean(drawn)) >= found - 1e-12
    return found, reached / (draws + 1)
