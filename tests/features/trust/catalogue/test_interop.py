"""Others read our catalogues, and we read others': python-tuf's client, and the command line that
the public conformance suite drives (`tests/features/trust/tuf_client.py`).
"""

import functools
import http.server
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from outlast.features.trust.catalogue.folders import RootPin
from outlast.features.trust.catalogue.places import WebPlace
from outlast.features.trust.catalogue.sync import follow, sync
from outlast.sources.http import HttpClient
from outlast.sources.settings import HttpSettings
from tests.features.trust import tuf_client
from tests.features.trust.catalogue.shelf import DAY, Shelf, entry


class LocalFetcher(FetcherInterface):
    """python-tuf's client on a local folder."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield Path(unquote(urlsplit(url).path)).read_bytes()
        except FileNotFoundError:
            raise DownloadHTTPError("there is none", 404) from None


@pytest.fixture
def full(shelf: Shelf) -> Shelf:
    """A catalogue of today with a publisher, bins, and one entry whose manifest is there."""
    shelf.now = datetime.now(UTC).replace(microsecond=0)
    keys = shelf.publisher("acme", "acme")
    data = b'{"a": "manifest"}'
    shelf.stage(entry("acme/model", data=data), data=data)
    shelf.publish(*[entry(f"org/m{n}") for n in range(300)], ring=shelf.ring(shelf.keys, keys))
    return shelf


def test_the_client_of_python_tuf_reads_our_catalogue(full: Shelf, tmp_path: Path) -> None:
    (tmp_path / "client").mkdir()
    (tmp_path / "got").mkdir()
    client = Updater(
        str(tmp_path / "client"),
        f"file://{full.folder}/metadata/",
        str(tmp_path / "got"),
        f"file://{full.folder}/targets/",
        fetcher=LocalFetcher(),
        bootstrap=(full.folder / "metadata/1.root.json").read_bytes(),
    )
    client.refresh()
    mine = entry("acme/model", data=b'{"a": "manifest"}')
    target = client.get_targetinfo(mine.name.path)
    assert target is not None
    assert Path(client.download_target(target)).read_bytes() == b'{"a": "manifest"}'
    assert client.get_targetinfo(entry("org/m299").name.path) is not None
    assert client.get_targetinfo(entry("org/none").name.path) is None


@pytest.fixture
def web(full: Shelf) -> Iterator[str]:
    """The catalogue on an ordinary web server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            del format, args

    handler = functools.partial(Quiet, directory=str(full.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_over_the_web(full: Shelf, web: str, home: Path) -> None:
    with HttpClient(HttpSettings()) as http_client:
        place = WebPlace(http_client, web)
        record = follow(home, "acme", place, None, full.now)
        assert record.pinned is RootPin.FIRST_USE
        done = sync(home, "acme", place, full.now)
        assert done.entries == 301
        assert sync(home, "acme", place, full.now + DAY).received < 2000


def test_the_command_line_of_the_conformance_suite(full: Shelf, web: str, tmp_path: Path) -> None:
    folder, got = tmp_path / "metadata", tmp_path / "got"
    folder.mkdir()
    got.mkdir()

    def call(*words: str) -> int:
        return tuf_client.main(
            ["--metadata-dir", str(folder), "--metadata-url", f"{web}/metadata", *words]
        )

    assert call("init", str(full.folder / "metadata/1.root.json")) == 0
    assert call("refresh") == 0
    assert {path.name for path in folder.iterdir()} >= {"root.json", "timestamp.json"}
    name = entry("acme/model", data=b'{"a": "manifest"}').name.path
    wanted = ["--target-dir", str(got), "--target-base-url", f"{web}/targets", "download"]
    assert call("--target-name", name, *wanted) == 0
    assert [path.read_bytes() for path in got.iterdir()] == [b'{"a": "manifest"}']
    assert call("--target-name", "no/such/target", *wanted) == 1
