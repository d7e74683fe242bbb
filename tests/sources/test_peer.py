"""Peers that lie, in every way that there is."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from outlast.codec import merkle
from outlast.codec.merkle import Tree
from outlast.core.errors import (
    AccessDeniedError,
    IntegrityError,
    MalformedError,
    NotFoundError,
    OutlastError,
    UnreachableError,
)
from outlast.core.manifest import FileEntry, Revision
from outlast.sources.base import RangeReader
from outlast.sources.peer import PeerSource
from outlast.sources.peer_documents import read_models
from tests.serve.peers import (
    COMMIT,
    NODE,
    OPEN,
    client,
    read,
    sha,
)

BLOB = sha(b"a blob")
Ask = Callable[[PeerSource], Any]


@dataclass(slots=True)
class Liar:
    """Answers every request with the same bytes, and then ends the connection, unless it `hangs`
    until it is closed.
    """

    answer: bytes
    hangs: bool = False
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @contextmanager
    def lying(self) -> Iterator[PeerSource]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
            thread = threading.Thread(target=self._serve, args=(server,), daemon=True)
            thread.start()
            yield PeerSource(client(0.3 if self.hangs else 10.0), "127.0.0.1", self.port)
            server.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _serve(self, server: socket.socket) -> None:
        held = []
        while True:
            try:
                sock, _ = server.accept()
            except OSError:
                break
            sock.settimeout(5)
            head = b""
            while b"\r\n\r\n" not in head:
                head += sock.recv(1 << 16)
            if (length := head.lower().find(b"content-length: ")) >= 0:
                count = int(head[length + 16 :].split(b"\r")[0])
                body = head.partition(b"\r\n\r\n")[2]
                while len(body) < count:
                    body += sock.recv(1 << 16)
            self.asked.append(head.split(b" ")[1].decode())
            with contextlib.suppress(OSError):  # it has heard enough
                sock.sendall(self.answer)
            if self.hangs:
                held.append(sock)
            else:
                sock.close()
        for sock in held:
            sock.close()


def reply(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if "Content_Length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def said(document: object) -> bytes:
    return reply(json.dumps(document).encode())


def lied(answer: bytes, ask: Ask, *kinds: type[OutlastError]) -> str:
    """What comes of asking a liar: an error of one of these kinds, in one line."""
    with Liar(answer).lying() as source, pytest.raises(kinds) as error:
        ask(source)
    text = str(error.value)
    assert text
    assert text.isprintable()
    assert len(text) < 1000
    return text


def ten(reader: RangeReader) -> bytes:
    """What a reader has from byte 10 on; who reads it sees when that is too little."""
    data = read(reader)[10 - reader.start :]
    if len(data) < 10:
        raise UnreachableError("too little")
    return data


ENTRY = FileEntry("a.bin", 1000, sha256=BLOB)
ASKS: dict[str, Ask] = {
    "node": lambda source: source.node(),
    "models": lambda source: source.models("x"),
    "describe": lambda source: source.describe(OPEN, "main"),
    "refs": lambda source: source.refs(OPEN),
    "manifest": lambda source: source.manifest(BLOB),
    "payloads": lambda source: source.payloads([BLOB]),
    "layer": lambda source: source.layer(BLOB, 3 << 20),
    "open": lambda source: ten(source.open(OPEN, COMMIT, ENTRY, 10, 20)),
    "capsule": lambda source: ten(source.open_capsule(BLOB, 1000, 10, 20)),
}
ANYWHERE: dict[str, tuple[bytes, tuple[type[OutlastError], ...]]] = {
    "nothing": (b"", (UnreachableError,)),
    "no HTTP": (b"\x00\x01SSH-2.0\r\n\r\n", (UnreachableError,)),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le", (UnreachableError, IntegrityError)),
    "an endless head": (
        b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100_000,
        (UnreachableError,),
    ),
    "elsewhere": (reply(b"", "302 Found", Location="http://127.0.0.1:9/x"), (MalformedError,)),
    "a failure": (reply(b"", "500 Oh"), (UnreachableError,)),
    "patience": (reply(b"", "429 No", Retry_After="7"), (UnreachableError,)),
    "not found": (reply(b"", "404 No"), (NotFoundError,)),
    "forbidden": (reply(b"", "403 No"), (AccessDeniedError,)),
    "a teapot": (reply(b"", "418 No", X_Error_Message="a\x1b[31mb"), (MalformedError,)),
    "compressed": (reply(b"x", Content_Encoding="gzip"), (MalformedError,)),
    "another length": (reply(b"{", Content_Length="1000000"), (UnreachableError, IntegrityError)),
    "an impossible length": (reply(b"{", Content_Length="9" * 30), (OutlastError,)),
    "no JSON": (reply(b"\xff\xfe<html>"), (IntegrityError,)),
    "depth": (reply(b"[" * 100_000), (IntegrityError,)),
    "an empty body": (reply(b""), (IntegrityError,)),
}


class TestLies:
    @pytest.mark.parametrize("lie", ANYWHERE)
    @pytest.mark.parametrize("ask", ASKS)
    def test_anywhere(self, ask: str, lie: str) -> None:
        answer, kinds = ANYWHERE[lie]
        lied(answer, ASKS[ask], *kinds)

    @pytest.mark.parametrize("ask", ASKS)
    def test_silence(self, ask: str) -> None:
        with Liar(b"", hangs=True).lying() as source, pytest.raises(UnreachableError):
            ASKS[ask](source)

    def test_one_that_drips(self) -> None:
        """Each byte comes in time, and all of them together do not."""
        answer = reply(b'{"models":', Content_Length="100000000")
        with Liar(answer, hangs=True).lying() as source, pytest.raises(UnreachableError):
            source.models(timeout=0.2)

    def test_it_is_not_followed_elsewhere(self) -> None:
        there = "http://127.0.0.1:9/outlast/v1/node"
        liar = Liar(reply(b"", "302 Found", Location=there))
        with liar.lying() as source, pytest.raises(MalformedError):
            source.node()
        assert liar.asked == ["/outlast/v1/node"]

    @pytest.mark.parametrize(
        "wrong",
        [
            [],
            None,
            {},
            {"outlast": 2},
            {"outlast": True},
            {"node": "00"},
            {"node": "Z" * 40},
            {"node": 7},
            {"version": "x" * 101},
            {"swarm_port": 65536},
            {"swarm_port": -1},
            {"swarm_port": 1.0},
            {"peer_port": "8091"},
            {"private": 0},
        ],
        ids=str,
    )
    def test_of_itself(self, wrong: Any) -> None:
        right = {
            "outlast": 1,
            "node": NODE.hex(),
            "version": "1",
            "swarm_port": 1,
            "peer_port": 2,
            "private": False,
        }
        with Liar(said(right)).lying() as source:
            assert source.node().node == NODE
        lied(said(right | wrong if wrong else wrong), ASKS["node"], MalformedError)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"repo": "../etc"},
            {"repo": "a/b/c"},
            {"repo": 5},
            {"repo": "x" * 5000},
            {"repo": "a/b\nc"},
            {"commit": "main"},
            {"commit": None},
            {"manifest": "ab"},
            {"manifest": "../" * 21 + "a"},
            {"refs": "main"},
            {"refs": ["a..b"]},
            {"refs": ["\x1b[31m"]},
            {"refs": [["main"]]},
            {"refs": ["a"] * 1001},
            {"files": -1},
            {"files": 10**9},
            {"files": True},
            {"bytes": -1},
            {"bytes": 1 << 63},
            {"bytes": 1e9},
            {"partial": "no"},
            {"restricted": 1},
        ],
        ids=lambda wrong: str(wrong)[:40],
    )
    def test_of_a_model(self, wrong: dict[str, Any]) -> None:
        page = {"models": [_row() | wrong], "next": None}
        lied(said(page), ASKS["models"], MalformedError)

    @pytest.mark.parametrize(
        "page",
        [
            {"models": {}, "next": None},
            {"models": [], "next": 5},
            {"models": ["x"], "next": None},
            {"models": [], "next": "5"},
            {"next": None},
        ],
        ids=str,
    )
    def test_pages(self, page: dict[str, Any]) -> None:
        lied(said(page), ASKS["models"], MalformedError)

    def test_pages_without_end(self) -> None:
        liar = Liar(said({"models": [_row()], "next": 7}))
        with liar.lying() as source, pytest.raises(MalformedError, match="does not end"):
            source.models()
        assert len(liar.asked) == 2  # the second page is the next of itself

    def test_a_page_too_long(self) -> None:
        rows = [_row()] * 1001
        lied(said({"models": rows, "next": None}), ASKS["models"], MalformedError)

    def test_another_manifest(self) -> None:
        data = Revision.of(OPEN, COMMIT, []).to_bytes()
        text = lied(reply(data), ASKS["manifest"], IntegrityError)
        assert "another manifest" in text

    @pytest.mark.parametrize("data", [b"{}", b"[]", b"no", b'{"type":"outlast-manifest-v1"}'])
    def test_what_is_no_manifest(self, data: bytes) -> None:
        lied(reply(data), lambda source: source.manifest(sha(data)), MalformedError)

    @pytest.mark.parametrize("wrong", [{"repo": "org/other"}, {"commit": "e" * 40}], ids=str)
    def test_a_manifest_of_another_model(self, wrong: dict[str, str]) -> None:
        revision = Revision.of(OPEN, COMMIT, [])
        row = _row() | {"manifest": revision.digest.hex}
        for offered, holds in ((row, True), (row | wrong, False)):
            [model], _ = read_models({"models": [offered], "next": None})
            with Liar(reply(revision.to_bytes())).lying() as source:
                if holds:
                    assert source.revision(model) == revision
                else:
                    with pytest.raises(IntegrityError):
                        source.revision(model)

    @pytest.mark.parametrize(
        "wrong",
        [
            [],
            None,
            {"size": -1},
            {"size": 1 << 60},
            {"size": "9"},
            {"have": 101},
            {"have": -1},
            {"have": None},
            {"root": "ab"},
            {"root": 5},
            {"forms": {}},
            {"forms": [5]},
            {"forms": [{}]},
            {"forms": [{"form": "zip", "size": 5, "root": BLOB.hex, "bases": []}]},
            {"forms": [{"form": "capsule", "size": 0, "root": BLOB.hex, "bases": []}]},
            {"forms": [{"form": "capsule", "size": 5, "root": None, "bases": []}]},
            {"forms": [{"form": "capsule", "size": 5, "root": BLOB.hex}]},
            {"forms": [{"form": "thin", "size": 5, "root": BLOB.hex, "bases": []}]},
            {"forms": [{"form": "thin", "size": 5, "root": BLOB.hex, "bases": [{}]}]},
            {
                "forms": [
                    {
                        "form": "capsule",
                        "size": 5,
                        "root": BLOB.hex,
                        "bases": [{"sha256": BLOB.hex, "size": 5}],
                    }
                ]
            },
            {"forms": [{"form": "plain", "size": 99, "root": BLOB.hex, "bases": []}]},
            {"forms": [{"form": "plain", "size": 100, "root": sha(b"").hex, "bases": []}]},
            {"forms": [{"form": "capsule", "size": 5, "root": BLOB.hex, "bases": []}] * 17},
        ],
        ids=lambda wrong: str(wrong)[:60],
    )
    def test_of_payloads(self, wrong: Any) -> None:
        right = {"size": 100, "root": BLOB.hex, "have": 100, "forms": []}
        with Liar(said({"payloads": {BLOB.hex: right}})).lying() as source:
            assert source.payloads([BLOB])[BLOB].whole
        row = right | wrong if wrong else wrong
        lied(said({"payloads": {BLOB.hex: row}}), ASKS["payloads"], MalformedError)

    def test_payloads_of_another_blob(self) -> None:
        row: dict[str, Any] = {"size": 100, "root": None, "have": 100, "forms": []}
        answer = said({"payloads": {sha(b"other").hex: row}})
        lied(answer, ASKS["payloads"], MalformedError)

    @pytest.mark.parametrize("layer", [bytes(96), bytes(64), bytes(128), b"x"])
    def test_a_layer_that_is_not_the_roots(self, layer: bytes) -> None:
        lied(reply(layer), ASKS["layer"], MalformedError)

    def test_a_layer_of_too_large_a_file(self) -> None:
        liar = Liar(b"")
        with liar.lying() as source, pytest.raises(MalformedError):
            source.layer(BLOB, 1 << 50)
        assert liar.asked == []

    def test_an_honest_layer_from_a_liar(self) -> None:
        layer = bytes(range(96))
        root = merkle.root_of_layer(layer)
        with Liar(reply(layer)).lying() as source:
            assert source.layer(root, 3 << 20) == Tree(3 << 20, root, layer)

    @pytest.mark.parametrize("ask", ["open", "capsule"])
    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (reply(bytes(999)), IntegrityError),
            (reply(bytes(10), "206 P", Content_Range="bytes 10-19/1001"), IntegrityError),
            (reply(bytes(10), "206 P", Content_Range="bytes 11-20/1000"), MalformedError),
            (reply(bytes(9), "206 P", Content_Range="bytes 10-19/*"), MalformedError),
            (reply(bytes(10), "206 P", Content_Range="bytes */*"), MalformedError),
            (reply(bytes(10), "206 P", Content_Range="bytes ten"), MalformedError),
            (reply(bytes(10), "206 P"), MalformedError),
            (reply(b"", "416 R", Content_Range="bytes */5"), IntegrityError),
            (reply(b"", "416 R", Content_Range="bytes */1000"), UnreachableError),
            (reply(b"", "416 R"), UnreachableError),
        ],
    )
    def test_ranges(self, ask: str, answer: bytes, kind: type[OutlastError]) -> None:
        lied(answer, ASKS[ask], kind)

    @pytest.mark.parametrize("ask", ["open", "capsule"])
    def test_more_or_less_than_was_asked_for(self, ask: str) -> None:
        much = reply(bytes(5000), "206 P", Content_Range="bytes 10-19/1000")
        with Liar(much).lying() as source:
            assert len(ASKS[ask](source)) == 10
        less = reply(b"abc", "206 P", Content_Range="bytes 10-19/1000", Content_Length="10")
        with Liar(less).lying() as source, pytest.raises(UnreachableError):
            ASKS[ask](source)


def _row() -> dict[str, Any]:
    return {
        "repo": "org/open",
        "commit": COMMIT.hex,
        "manifest": BLOB.hex,
        "refs": ["main"],
        "files": 1,
        "bytes": 5,
        "partial": False,
        "restricted": False,
    }
