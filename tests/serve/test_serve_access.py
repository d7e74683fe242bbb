"""The log of requests: the access lines, and the figures for Prometheus."""

import json
from collections.abc import Iterator

import pytest

from tests.clients.contract import MODEL, WEIGHTS
from tests.serve.conftest import Served
from tests.serve.node import Node, until
from tests.serve.test_serve_wire import BROKEN, HOSTILE
from tests.serve.wire import Reply, Wire, once

LFS = f"/{MODEL}/resolve/main/model.safetensors"
PATHS_INFO = f"/api/models/{MODEL}/paths-info/main"
FORM = {"Content_Type": "application/x-www-form-urlencoded"}
JSON = {"Content_Type": "application/json"}


@pytest.fixture
def node(served: Served) -> Iterator[Node]:
    """A node of our own over the shared archive: its log has no other test's lines."""
    with Node(served.node.home, "--quiet") as node:
        yield node


def lines_after(node: Node, count: int) -> list[str]:
    """The log once it holds `count` lines (it is written after the answer is on its way)."""
    until(lambda: len(node.lines()) >= count, f"{count} lines")
    return node.lines()


def test_a_line_says_who_got_what(node: Node, served: Served) -> None:
    once(node.url, LFS, Range="bytes=5-9", User_Agent="me")
    once(node.url, "/org/none/resolve/main/x")
    ranged, missing = map(json.loads, lines_after(node, 2))
    assert ranged["peer"] == "127.0.0.1"
    assert (ranged["method"], ranged["path"], ranged["what"]) == ("GET", LFS, "resolve")
    assert (ranged["status"], ranged["bytes"]) == (206, 5)
    assert (ranged["range"], ranged["user-agent"]) == ("bytes=5-9", "me")
    assert ranged["commit"] == served.sample.head.sha
    assert (missing["status"], missing["bytes"]) == (401, 0)
    assert "commit" not in missing


Asked = tuple[str, str, bytes, dict[str, str]]


def _requests() -> list[Asked]:
    """All that reaches us; what is no HTTP does not."""
    odd = {"star", "too long", "raw bytes"}
    targets = [str(target) for name, target in HOSTILE.items() if name not in odd]
    return [
        *((target, "GET", b"", {}) for target in targets),
        *((path, "HEAD", b"", {}) for path in (LFS, "/healthz", "/metrics", "/api/models")),
        (LFS, "DELETE", b"", {}),
        (PATHS_INFO, "POST", b"paths=config.json", FORM),
        (PATHS_INFO, "POST", b"[" * 100_000, JSON),
        (PATHS_INFO, "POST", b"a" * (5 << 20), FORM),
        (PATHS_INFO, "POST", b"x", {"Content_Type": "multipart/form-data"}),
    ]


def test_every_request_of_any_kind_has_one_line(node: Node) -> None:
    asked = _requests()
    for target, method, body, headers in asked:
        once(node.url, target, method, body, **headers)
    lines = [json.loads(line) for line in lines_after(node, len(asked))]
    told = [(line["method"], line["path"][:100]) for line in lines]
    assert told == [(method, target[:100]) for target, method, _, _ in asked]


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_request_leaves_at_most_a_line(node: Node, name: str) -> None:
    with Wire(node.url) as wire:
        try:
            wire.send(BROKEN[name])
            wire.reply()
        except (ConnectionError, EOFError):
            pass
    once(node.url, "/healthz")
    until(lambda: any('"/healthz"' in line for line in node.lines()), "the next line")
    assert len(node.lines()) <= 2
    assert all(isinstance(json.loads(line), dict) for line in node.lines())


@pytest.mark.parametrize(
    "header",
    [
        'x"}\\n{"path": "/forged"}',
        "x\x1b[2J\x7f",
        "x\u2028\u2029\x85",
        "\udcff\udcfe",
        "a" * 4000,
    ],
    ids=["quotes", "escapes", "line separators", "no utf-8", "long"],
)
def test_no_client_can_forge_a_line(node: Node, header: str) -> None:
    path = "/healthz/%0a%7B%22path%22%3A1%7D/%E2%80%A8"
    replies: list[Reply] = []
    if "\x1b" not in header:
        replies.append(once(node.url, path, User_Agent=header, Range=header))
    replies.append(once(node.url, path, Referer="x"))
    lines = lines_after(node, len(replies))
    assert len(lines) == len(replies)
    for line in lines:
        assert line.isascii()
        assert line.isprintable()
        assert json.loads(line)["path"] == path
        assert len(line) < 3000


def test_metrics(node: Node) -> None:
    assert node.get("/healthz").body == b"ok\n"
    before = node.metric("outlast_sent_bytes_total")
    requests = node.metric("outlast_requests_total")
    once(node.url, LFS)
    once(node.url, LFS, Range="bytes=0-9")
    until(lambda: node.metric("outlast_sent_bytes_total") > before, "the count")
    assert node.metric("outlast_sent_bytes_total") == before + len(WEIGHTS) + 10
    assert node.metric("outlast_requests_total") > requests + 2
    assert node.metric("outlast_connections") >= 1
    assert node.metric("outlast_fetches") == 0
    kind = node.get("/metrics").headers["Content-Type"]
    assert kind.startswith("text/plain; version=0.0.4")
