"""The counters of a session: the first question for them has an answer."""

from outlast.swarm.client.session import TorrentSession
from outlast.swarm.settings import SwarmSettings


def test_they_are_there_after_the_first_refresh() -> None:
    with TorrentSession(SwarmSettings(), (), lambda _: None) as session:
        session.refresh()
        assert session.counters["net.sent_payload_bytes"] == 0
