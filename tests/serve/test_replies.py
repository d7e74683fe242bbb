"""What a client is told of an error: never where the server keeps its files."""

import json
import os
from pathlib import Path

import pytest

from outlast.core.errors import CorruptError, NotFoundError, OutlastError
from outlast.server.http.replies import error_reply, without_paths
from outlast.store import disk
from tests.clients.contract import MODEL
from tests.serve.conftest import Served
from tests.serve.node import Node, copied
from tests.serve.upstream import target
from tests.serve.wire import once

HIDDEN = "a path of the server"


def of_disk(number: int, path: str) -> OutlastError:
    return disk.storage_error(OSError(number, os.strerror(number), path), Path("/home/x"))


@pytest.mark.parametrize(
    "path",
    [
        "/srv/secret/archive/blobs/ab/abcd",
        "/secret",
        "/srv/a secret, in two words/blobs/ab",
        "/srv/secret (old)/blobs",
        "//srv/secret",
        "/srv/g\xe9heim secret/x",
    ],
)
@pytest.mark.parametrize("number", [5, 13, 24, 28, 30])
def test_paths_of_the_disk_stay_here_and_the_reason_does_not(
    number: int, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = error_reply(of_disk(number, path))
    assert isinstance(reply.body, bytes)
    for text in (reply.headers["X-Error-Message"], json.loads(reply.body)["error"]):
        assert HIDDEN in text
        assert os.strerror(number) in text
        assert "secret" not in text
        assert "srv" not in text
    logged = json.loads(capsys.readouterr().err)
    assert path in logged["error"]


@pytest.mark.parametrize(
    "text",
    [
        "[Errno 24] Too many open files: '/srv/secret/x'",
        'cannot read "/srv/it\'s secret/x" now',
        "file:///srv/secret cannot be read",
        "index at=/srv/secret is locked",
        "(/srv/secret) is damaged",
        '/srv/it\'s "secret"; (x), y: Input/output error',
        r"""'/srv/it\'s "secret"' is damaged""",
        "damaged:/srv/secret",
        "'a': '/srv/secret' -> '/srv/secret2'",
    ],
)
def test_however_it_is_written(text: str) -> None:
    said = without_paths(text)
    assert HIDDEN in said
    assert "srv" not in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "text",
    [
        "org/model@refs/pr/1 is not archived: no file 'a/b.bin'",
        "https://huggingface.co/api/models/x answers 503",
        "http://[::1]/org/model and http://h:80/x/y",
        "read / write, 5 MB/s, and/or ./x ../y ~/z",
    ],
)
def test_what_is_no_path_of_the_disk_stays(text: str) -> None:
    assert without_paths(text) == text


@pytest.mark.parametrize("text", ["'/" + "\\a" * 300, "'/\"/" * 200, "/ " * 300, ":/" * 300])
def test_no_text_of_a_client_takes_long(text: str) -> None:
    """The search never goes back over what it has read: else the first would take years."""
    assert len(without_paths(text)) <= len(text) + len(HIDDEN)


def test_no_line_is_logged_of_an_error_without_paths(capsys: pytest.CaptureFixture[str]) -> None:
    error_reply(NotFoundError("there is no org/model here"))
    error_reply(CorruptError("abcd does not match"))
    error_reply(NotFoundError("there is no '/path/of/a/client' here"))
    assert not capsys.readouterr().err


@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_neither_headers_nor_bodies_nor_pages_name_the_archive(
    served: Served, tmp_path: Path, accept: str
) -> None:
    """A manifest that the disk cannot read, and a blob that cannot be opened."""
    home = tmp_path / "secret home"
    copied(served.node.home, home)
    for blob in (home / "blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()
            blob.symlink_to(blob)  # ELOOP, at any open
    with Node(home) as node:
        for path in (target("config.json", MODEL), f"/{MODEL}", f"/{MODEL}/raw/main/config.json"):
            reply = once(node.url, path, Accept=accept)
            told = reply.body.decode() + "".join(map(str, reply.headers.values()))
            assert "secret" not in told
            assert str(tmp_path) not in told
        assert any("secret home" in line for line in node.lines())
