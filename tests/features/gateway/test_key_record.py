"""Which keys have worked: kept for all processes of a gateway."""

from dataclasses import replace
from pathlib import Path

from outlast.features.gateway.routes.values import Endpoint
from outlast.features.gateway.upstream.key_record import KeyRecord

ONE = Endpoint("one", ("http://x/v1",), "secret-one")
OTHER = Endpoint("other", ("http://y/v1",), "secret-other")


def test_processes_share_what_worked(tmp_path: Path) -> None:
    path = tmp_path / "gateway" / "worked.json"
    ours, theirs = KeyRecord(path), KeyRecord(path)
    assert not theirs.worked(ONE)
    assert ours.note(ONE)
    ours.write()
    assert theirs.note(OTHER)
    theirs.write()  # it keeps what the other process wrote
    assert theirs.worked(ONE)
    assert KeyRecord(path).worked(ONE)
    assert KeyRecord(path).worked(OTHER)
    assert not KeyRecord(path).worked(replace(ONE, key="another"))
    assert not ours.note(ONE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"secret" not in path.read_bytes()
