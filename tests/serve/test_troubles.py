"""What a mirror concludes from upstream's failures, and for whom."""

import time

import pytest

from outlast.core.errors import RateLimitedError, UnreachableError
from outlast.core.names import RepoId
from outlast.mirror.answers import Troubles
from outlast.mirror.tuning import MirrorTuning

REPO = RepoId.parse("org/name")


@pytest.mark.parametrize("error", [RateLimitedError("429"), UnreachableError("it fails")])
def test_what_one_client_gets_concerns_no_other(error: UnreachableError) -> None:
    """Its token may be at its limit, or such that the hub fails."""
    troubles = Troubles()
    troubles.note(REPO, "main", error, "a token")
    assert troubles.why_not(REPO, "main", "a token")
    assert not troubles.why_not(REPO, "main", "another")
    assert not troubles.why_not(REPO, "main")
    assert not troubles.failing
    troubles.note(REPO, "main", None, "a token")
    assert not troubles.why_not(REPO, "main", "a token")


def test_what_everybody_gets_concerns_all() -> None:
    troubles = Troubles()
    troubles.note(REPO, "main", UnreachableError("it fails"))
    assert troubles.why_not(REPO, "v1", "a token")
    assert troubles.failing


def test_a_hub_that_asks_for_years_gets_minutes() -> None:
    troubles = Troubles()
    troubles.note(REPO, "main", RateLimitedError("429", retry_after=9e8))
    assert 0 < troubles.down_until("") - time.monotonic() <= MirrorTuning().down_longest


def test_voices_are_bounded() -> None:
    troubles = Troubles(MirrorTuning(kept=2))
    for n in range(4):
        troubles.note(REPO, "main", UnreachableError("it fails"), f"{n}")
    assert [bool(troubles.why_not(REPO, "main", f"{n}")) for n in range(4)] == [False] * 2 + [
        True
    ] * 2
