"""An endpoint that an audit found divergent is not asked, until the record expires or a newer one
says otherwise.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outlast.core.digest import Digest
from outlast.core.records.audit import AuditRecord, AuditVerdict
from outlast.features.gateway.serving import server
from outlast.store.archive import Archive
from outlast.store.evidence.audits import Audits
from tests.features.gateway.gateways import Answer, Caller, gateway
from tests.features.gateway.test_falls_over import routes
from tests.features.gateway.upstream import Provider, providers
from tests.store.build import archive_revision


@pytest.fixture(name="two")
def _two() -> Iterator[list[Provider]]:
    with providers("a", "b") as made:
        yield made


@pytest.fixture(name="archive")
def _archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as archive:
        yield archive


def note(archive: Archive, url: str, verdict: AuditVerdict, *, at: int = -60) -> None:
    """A record about the first target's model, `at` seconds from now."""
    if not list(archive.layout.home.glob("manifests/*.json")):
        archive_revision(archive, {"a": b"weights"})
    digest = _manifest(archive)
    now = int(time.time())
    record = AuditRecord(url, "big", digest, verdict, now + at, now + 3600)
    with archive.writer() as writer:
        archive.attestations.add(writer, digest, record.to_bytes())


def _manifest(archive: Archive) -> Digest:
    names = [path.stem for path in archive.layout.home.glob("manifests/*.json")]
    return Digest(names[0])


def _until(caller: Caller, holds: Callable[[Answer], bool]) -> Answer:
    end = time.monotonic() + 60
    while not holds(answer := caller.chat()):
        assert time.monotonic() < end, answer.body
        time.sleep(0.02)  # between two looks
    return answer


def test_it_turns_away_and_back(
    two: list[Provider], archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_AUDITS", 1)
    a, b = two
    with gateway(tmp_path, routes(a, b), archive=archive) as caller:
        assert caller.chat().json["outlast"]["target"] == "a:big"
        note(archive, a.url, AuditVerdict.DIVERGENT)
        answer = _until(caller, lambda answer: answer.json["outlast"]["target"] == "b:small")
        assert answer.headers["X-Outlast-Substituted"] == "a:big (divergent)"
        assert answer.json["outlast"]["passed"] == [{"target": "a:big", "reason": "divergent"}]
        models = caller.get("/v1/models").json["data"][0]["outlast"]["targets"]
        assert [target["answers"] for target in models] == [False, True]

        # It is not asked where no other target is left, either.
        asked = len(a.asked)
        b.doing = {"status": 500}
        assert caller.chat().status == 502
        assert len(a.asked) == asked
        b.doing = {}

        note(archive, a.url, AuditVerdict.CONSISTENT, at=-30)
        _until(caller, lambda answer: answer.json["outlast"]["target"] == "a:big")


@pytest.mark.parametrize("more", ["[gateway]\naudits = false\n", ""])
def test_records_that_do_not_hold(
    two: list[Provider],
    archive: Archive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: str,
) -> None:
    """Of another endpoint; or where the operator does not want them."""
    monkeypatch.setattr(server, "_AUDITS", 1)
    a, b = two
    note(archive, a.url if more else f"{a.url}/other", AuditVerdict.DIVERGENT)
    with gateway(tmp_path, more + routes(a, b), archive=archive) as caller:
        for _ in range(5):
            assert caller.chat().json["outlast"]["target"] == "a:big"


def test_the_newest_record_counts(archive: Archive) -> None:
    audits = Audits(archive)
    assert audits.newest() == {}
    note(archive, "http://x/v1", AuditVerdict.CONSISTENT)
    place = ("http://x/v1", "big")
    assert audits.newest()[place].verdict is AuditVerdict.CONSISTENT
    note(archive, "http://x/v1", AuditVerdict.DIVERGENT, at=-90)  # older
    assert audits.newest()[place].verdict is AuditVerdict.CONSISTENT
    note(archive, "http://x/v1", AuditVerdict.DIVERGENT, at=-10)
    assert audits.newest()[place].verdict is AuditVerdict.DIVERGENT
