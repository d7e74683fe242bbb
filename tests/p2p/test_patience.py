"""How long others are waited for, by a clock of the test's own."""

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.p2p.patience import FilePatience, Takeover, WaitingFile
from outlast.p2p.tuning import TUNING

LEAST = TUNING.least_bytes
LIMIT = TUNING.patience
assert LIMIT + TUNING.courtesy <= 5.0  # the origin is asked by then, whatever others say


@dataclass
class File:
    """A file whose turn came at 0."""

    def __post_init__(self) -> None:
        self.now = 0.0
        self.total = 0
        self.patience = FilePatience(TUNING)
        self.patience.begin(0.0)

    def run(self, seconds: float, rate: float = 0.0) -> float:
        """Looks four times a second while `rate` bytes come; how long it waits then."""
        for _ in range(round(seconds * 4)):
            self.now += 0.25
            self.total += int(rate / 4)
            self.patience.see(self.total, self.now, LEAST)
        return self.patience.waited(self.now)


def test_before_its_turn_it_does_not_wait() -> None:
    patience = FilePatience(TUNING)
    assert patience.waited(1e6) == 0.0
    patience.begin(100.0)
    patience.begin(104.0)
    assert patience.waited(105.0) == 5.0


def test_nothing_comes() -> None:
    assert File().run(LIMIT) == LIMIT


def test_a_drip_counts_as_nothing() -> None:
    for rate in (1, 1000, LEAST / LIMIT / 2):
        assert File().run(LIMIT, rate) >= LIMIT


def test_enough_comes() -> None:
    file = File()
    assert file.run(60, 2 * LEAST / LIMIT) < LIMIT
    assert file.run(LIMIT) >= LIMIT


def test_a_proof_buys_time_and_the_next_one_more() -> None:
    file = File()
    held = []
    for _ in range(6):
        file.run(3)
        file.patience.prove(file.now)
        held.append(file.patience.trust)
        assert file.run(file.patience.trust + 3) == 3.0
    assert held == [3.0, 6.0, 12.0, 24.0, 24.0, 24.0]
    assert file.run(1) == LIMIT


def test_when_a_proven_one_is_gone_another_gets_time() -> None:
    """As long as the first proof holds, whatever the last one had bought."""
    file = File()
    for _ in range(4):
        file.patience.prove(file.now)
    file.patience.lose(file.now)
    assert file.run(TUNING.proof_holds) == 0.0
    assert file.run(LIMIT) == LIMIT


def test_proofs_are_sought_when_nothing_comes_and_not_all_the_time() -> None:
    patience = FilePatience(TUNING)
    patience.begin(0.0)
    asked = [at / 4 for at in range(1, 21) if patience.wants_proof(at / 4)]
    assert asked[0] == TUNING.proof_after
    assert all(b - a >= TUNING.proof_again for a, b in pairwise(asked))
    assert len(asked) >= 3


@given(st.lists(st.tuples(st.floats(0, 100), st.binary(max_size=2), st.booleans()), max_size=20))
def test_however_many_claim_it_the_budget_is_one(
    rows: list[tuple[float, bytes, bool]],
) -> None:
    """After the patience and one courtesy at the latest, each file is chosen sooner or later."""
    files = [WaitingFile(*row) for row in rows]
    takeover = Takeover(TUNING)
    late = {n for n, one in enumerate(files) if one.waited >= LIMIT + TUNING.courtesy}
    taken: set[int] = set()
    for _ in range(4):  # 1 + 4 + 16 + 64 files
        left = [n for n in range(len(files)) if n not in taken]
        taken |= {left[n] for n in takeover.choose([files[n] for n in left], idle=LIMIT)}
    assert late <= taken
    assert all(files[n].waited >= LIMIT for n in taken)


def test_a_newcomer_gets_a_moment() -> None:
    one = WaitingFile(LIMIT, b"", newcomer=True)
    assert not one.is_overdue(TUNING)
    assert replace(one, newcomer=False).is_overdue(TUNING)
    assert replace(one, waited=LIMIT + TUNING.courtesy).is_overdue(TUNING)


def test_a_node_that_is_busy_takes_nothing_from_others() -> None:
    files = [WaitingFile(100.0, b"")]
    assert Takeover(TUNING).choose(files, idle=LIMIT - 0.1) == []
    assert Takeover(TUNING).choose(files, idle=LIMIT) == [0]


def test_few_at_first_and_of_those_each_node_takes_others() -> None:
    files = [WaitingFile(100.0, bytes([rank])) for rank in (3, 9, 1, 7)]
    takeover = Takeover(TUNING)
    assert takeover.choose(files, LIMIT) == [1]
    assert takeover.choose(files, LIMIT) == [1, 3, 0, 2]
    takeover.reset()
    assert takeover.choose(files, LIMIT) == [1]


@pytest.mark.parametrize("waited", [0.0, LIMIT - 0.01])
def test_not_too_soon(waited: float) -> None:
    assert Takeover(TUNING).choose([WaitingFile(waited, b"")], idle=1e6) == []
