"""Plain files that have other names are hashed again, once, before their bytes are sent."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.core.digest import Digest, Names
from outlast.core.errors import Cancelled, CorruptError
from outlast.intake.local_file import ingest
from outlast.server.http import opened
from outlast.server.http.opened import Rechecks
from outlast.store.archive import Archive
from tests.cli.call import inside
from tests.serve.forms import flip

DATA = os.urandom(3 << 20)
DIGEST = Digest.of(DATA)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """A plain file that has another name, and was touched."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "data.bin").write_bytes(DATA)
    inside("add", tmp_path / "model", "--as", "me/m", "--form", "plain", home=tmp_path).ok()
    with Archive(tmp_path / "archive") as archive:
        os.link(archive.layout.blob(DIGEST), tmp_path / "other")
        os.utime(tmp_path / "other", (1e9, 1e9))
        yield archive


class Hashing:
    """Counts what is hashed, and holds it up until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.begun = threading.Event()
        self.may = threading.Event()
        monkeypatch.setattr(opened, "ingest", self._hash)

    def _hash(self, *args: Any) -> Names:
        self.count += 1
        self.begun.set()
        assert self.may.wait(60)
        return ingest(*args)


def test_requests_share_one_and_may_be_given_up(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing = Hashing(monkeypatch)

    async def ask() -> None:
        with Rechecks(archive) as rechecks, archive.open_blob(DIGEST) as blob:
            assert rechecks.is_due(blob)
            first, second = (asyncio.create_task(rechecks.check(blob)) for _ in range(2))
            await asyncio.to_thread(hashing.begun.wait, 60)
            first.cancel()
            await asyncio.wait([first])
            hashing.may.set()
            await second
            assert (first.cancelled(), hashing.count) == (True, 1)
            assert not rechecks.is_due(blob)

    asyncio.run(ask())


def test_a_damaged_one_is_hashed_once(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    hashing = Hashing(monkeypatch)
    hashing.may.set()
    flip(archive.layout.blob(DIGEST), 9)

    async def ask() -> None:
        with Rechecks(archive) as rechecks, archive.open_blob(DIGEST) as blob:
            for _ in range(2):
                assert rechecks.is_due(blob)
                with pytest.raises(CorruptError):
                    await rechecks.check(blob)

    asyncio.run(ask())
    assert hashing.count == 1


def test_a_server_that_stops_does_not_wait_for_it(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing = Hashing(monkeypatch)

    async def ask() -> None:
        with archive.open_blob(DIGEST) as blob:
            with Rechecks(archive) as rechecks:
                asked = asyncio.create_task(rechecks.check(blob))
                await asyncio.to_thread(hashing.begun.wait, 60)
            hashing.may.set()
            with pytest.raises(Cancelled):
                await asked

    asyncio.run(ask())
