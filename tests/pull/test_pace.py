"""Every byte of a pull counts against the bandwidth cap."""

import pytest

from outlast.core.cancel import Cancel
from outlast.core.ratelimit import TokenBucket
from outlast.fetch import transfer
from tests.hubsim import HubSim
from tests.pull.kit import TOTAL, Puller, check_pulled


def test_every_byte_of_a_pull_is_counted(
    hub: HubSim, pull: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[float, float]] = []

    class Counted(TokenBucket):
        def take(self, count: float, cancel: Cancel) -> None:
            del cancel
            taken.append((self.rate, count))

    monkeypatch.setattr(transfer, "TokenBucket", Counted)
    pull("org/name", hub.url, include=["config.json"])
    assert taken == []
    pull.rate = 5_000_000
    pull("org/name", hub.url)
    check_pulled(pull.home)
    first = len(b'{"hidden_size": 64}')
    assert {rate for rate, _ in taken} == {5_000_000}
    assert sum(count for _, count in taken) == TOTAL - first
    assert max(count for _, count in taken) <= 1 << 18
