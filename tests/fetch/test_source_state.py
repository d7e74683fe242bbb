"""A source of the running fetch that served wrong bytes."""

from outlast.core.errors import IntegrityError
from outlast.core.events import Event, SourceBanned
from outlast.fetch.source_state import Patience, SourceState
from outlast.sources.hub import HubSource
from tests.serve.peers import client


def test_a_source_that_lied_is_named_once_and_asked_no_more() -> None:
    told: list[Event] = []
    source = SourceState(HubSource(client(), "http://liar", None), Patience(), told.append)
    assert source.serves("key")
    for path in ("large.bin", "other.bin"):
        error = IntegrityError(f"a wrong piece 3 of {path}")
        source.record_failure(error, path=path, key="key", started=0.0)
    assert told == [SourceBanned(source.name, "large.bin", "a wrong piece 3 of large.bin")]
    assert not source.serves("key")
    assert not source.serves("another")
    assert source.refuses("key")
