from random import Random

import pytest

from bench.sim.sharing import max_min


def test_a_link_is_shared_equally_and_what_one_cannot_use_goes_to_others() -> None:
    # Three flows leave link 0 (30); one of them passes link 1 (4).
    rates, left = max_min([(0,), (0,), (0, 1)], [30.0, 4.0])
    assert rates == pytest.approx([13.0, 13.0, 4.0])
    assert left == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize("seed", range(5))
def test_every_flow_has_a_full_link_on_which_no_flow_has_more(seed: int) -> None:
    random = Random(seed)
    capacity = [random.uniform(1, 100) for _ in range(12)]
    flows = [tuple(random.sample(range(12), random.randint(1, 4))) for _ in range(60)]
    rates, left = max_min(flows, capacity)
    for link, all_of_it in enumerate(capacity):
        assert sum(r for r, links in zip(rates, flows, strict=True) if link in links) == (
            pytest.approx(all_of_it - left[link])
        )
        assert left[link] >= 0
    for rate, links in zip(rates, flows, strict=True):
        assert any(
            left[link] < 1e-6
            and all(
                other <= rate * (1 + 1e-6)
                for other, passes in zip(rates, flows, strict=True)
                if link in passes
            )
            for link in links
        )
