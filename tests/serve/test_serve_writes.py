"""Requests that would change a hub: one sentence says that this one is read-only."""

import json

import pytest

from tests.clients.contract import MODEL
from tests.serve.conftest import Served
from tests.serve.wire import once

API = f"/api/models/{MODEL}"
WRITES = [
    ("POST", "/api/repos/create"),
    ("DELETE", "/api/repos/delete"),
    ("POST", "/api/repos/move"),
    ("POST", "/api/validate-yaml"),
    ("POST", "/api/collections"),
    ("POST", f"{API}/preupload/main"),
    ("POST", f"{API}/commit/main"),
    ("POST", f"{API}/branch/new"),
    ("DELETE", f"{API}/branch/new"),
    ("POST", f"{API}/tag/main"),
    ("DELETE", f"{API}/tag/v1"),
    ("PUT", f"{API}/settings"),
    ("POST", f"{API}/super-squash/main"),
    ("POST", f"{API}/like"),
    ("DELETE", f"{API}/like"),
    ("POST", f"{API}/discussions"),
    ("POST", f"/api/{MODEL}/discussions/1/comment"),
    ("POST", f"{API}/lfs-files/batch"),
    ("POST", f"{API}/duplicate"),
    ("POST", "/api/datasets/org/none/commit/main"),
    ("POST", "/api/spaces/org/x/secrets"),
    ("POST", "/api/models/gpt2/commit/main"),
    ("PUT", API),
    ("PATCH", f"{API}/anything"),
    ("DELETE", f"/{MODEL}/resolve/main/config.json"),
    ("PUT", f"/{MODEL}"),
    ("POST", "/"),
]


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_write_says_that_the_archive_is_read_only(served: Served, method: str, path: str) -> None:
    reply = once(served.url, path, method, b"{}", Content_Type="application/json")
    assert reply.status == 405
    assert reply.headers["x-error-code"] == "ReadOnly"
    said = reply.headers["x-error-message"]
    assert "read-only" in said
    assert "outlast add" in said
    assert json.loads(reply.body)["error"] == said


@pytest.mark.parametrize("path", [f"{API}/xet-write-token/main", f"{API}/xet-write-token"])
def test_a_permission_to_write_is_refused_likewise(served: Served, path: str) -> None:
    reply = once(served.url, path)
    assert (reply.status, reply.headers["x-error-code"]) == (405, "ReadOnly")


GIT = [
    ("GET", "info/refs?service=git-receive-pack"),
    ("GET", "info/refs?service=git-upload-pack"),
    ("POST", "git-receive-pack"),
    ("POST", "git-upload-pack"),
    ("POST", "info/lfs/objects/batch"),
    ("POST", "info/lfs/objects/verify"),
    ("GET", "info/lfs/locks"),
]


@pytest.mark.parametrize("name", [f"{MODEL}.git", MODEL, f"datasets/{MODEL}.git", "gpt2.git"])
@pytest.mark.parametrize(("method", "path"), GIT)
def test_git_is_told_in_its_own_way(served: Served, name: str, method: str, path: str) -> None:
    reply = once(served.url, f"/{name}/{path}", method, b"x" if method == "POST" else b"")
    assert reply.status == 403
    said = reply.headers["x-error-message"]
    assert "read-only" in said
    if method == "GET":
        assert reply.headers["content-type"].startswith("text/plain")
        assert reply.body.decode() == f"{said}\n"
    else:
        assert json.loads(reply.body)["message"] == said


def test_reading_is_not_writing(served: Served) -> None:
    """What is not there stays a missing file for those who only read."""
    for path in ("/api/nothing", f"{API}/discussions", f"/{MODEL}/resolve/main/info/refs"):
        reply = once(served.url, path)
        assert (reply.status, reply.headers["x-error-code"]) == (404, "EntryNotFound"), path
