"""What the log says of a session's events."""

from outlast.core.digest import Digest
from outlast.swarm.client.events import PayloadDamaged, PeerBanned, TrackerAnswered, described

ROOT = Digest("ab" * 32)


def test_a_tracker_is_named_by_its_host_alone() -> None:
    """Private trackers have a key of the user in path or query."""
    url = "http://user:canary@tracker.example:8080/canary/announce?key=canary"
    said = described(TrackerAnswered(ROOT, url, 3, ""))
    assert said == f"payload {ROOT.short}: tracker tracker.example:8080 answered: 3 peers"
    said = described(TrackerAnswered(ROOT, url, 0, "not registered"))
    assert said.endswith("answered: not registered")


def test_events_say_what_happened_to_which_payload() -> None:
    assert described(PeerBanned(ROOT, "10.0.0.1:7")) == (
        f"payload {ROOT.short}: peer 10.0.0.1:7 sent wrong pieces and is banned"
    )
    assert "piece 5 is damaged" in described(PayloadDamaged(ROOT, 5))
