"""The caps on what peers send: of the LAN, beyond it, and when they change."""

from outlast.core.cancel import Cancel
from outlast.node.download_limit import PeerDownloadLimit
from outlast.swarm.schedule import Rates

NEAR, FAR = "192.168.1.7", "11.0.0.7"


class Waits(Cancel):
    """Notes how long it is waited for, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, seconds: float) -> None:
        self.seconds.append(seconds)


def test_each_side_has_its_own() -> None:
    rates, waits = [Rates(down=1000, lan_down=100_000)], Waits()
    incoming = PeerDownloadLimit(lambda: rates[0])
    incoming.take(NEAR, 100_000, waits)
    assert waits.seconds == []  # a second's worth is free
    incoming.take(FAR, 11_000, waits)
    assert 9 < waits.seconds.pop() <= 10
    for address in ("fe80::1%eth0", "127.0.0.1", "::ffff:10.0.0.1"):
        incoming.take(address, 100_000, waits)
        assert waits.seconds.pop() <= 3  # of the LAN's, together


def test_none_and_a_change() -> None:
    rates, waits = [Rates()], Waits()
    incoming = PeerDownloadLimit(lambda: rates[0])
    incoming.take(FAR, 1 << 40, waits)
    assert waits.seconds == []
    rates[0] = Rates(down=10)
    incoming.take(FAR, 110, waits)
    assert incoming.received == (1 << 40) + 110
    assert 9 < waits.seconds.pop() <= 10
