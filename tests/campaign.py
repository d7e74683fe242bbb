"""Campaigns: tests that search at random. `make test` runs them briefly and always alike;
`make torture SEED=7` runs them for long, from another seed. conftest.py tells which seed it was.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import settings

SEED = int(os.environ.get("OUTLAST_SEED", "1"))
LONG = bool(os.environ.get("OUTLAST_TORTURE"))


def rounds(short: int, long: int) -> int:
    """How many rounds a campaign has."""
    return long if LONG else short


def examples(short: int) -> settings:
    """Of a test that is run for each of many kinds: how many examples each kind gets where the
    profile is the default one. All other profiles give each kind as many as any test.
    """
    if settings.get_current_profile_name() != "default":
        return settings()
    return settings(max_examples=short)


in_torture = (pytest.mark.torture, pytest.mark.skipif(not LONG, reason="a variant: make torture"))
"""The marks of a variant that only campaigns run: another one stands for it in `make test`."""


def crossed(
    kinds: Iterable[object], always: Sequence[object], in_turn: Sequence[object]
) -> list[Any]:
    """Pairs for a test: each kind with all of `always`, and with one of `in_turn`, which take
    turns; its pairs with the others of them are for campaigns.
    """
    found = []
    for number, kind in enumerate(kinds):
        found += [pytest.param(kind, one) for one in always]
        for place, one in enumerate(in_turn):
            is_its_turn = number % len(in_turn) == place
            found.append(pytest.param(kind, one, marks=() if is_its_turn else in_torture))
    return found
