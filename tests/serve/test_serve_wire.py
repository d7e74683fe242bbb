"""HTTP on the wire: connections that are used again, old and broken clients, hostile requests."""

import socket

import pytest

from tests.clients.contract import MODEL, WEIGHTS
from tests.serve.conftest import Served
from tests.serve.node import until
from tests.serve.wire import Reply, Wire, once

FILE = f"/{MODEL}/resolve/main/config.json"
LFS = f"/{MODEL}/resolve/main/model.safetensors"
CONFIG = b'{"a": 1}\n'


def raw(served: Served, request: bytes) -> Reply:
    with Wire(served.url) as wire:
        wire.send(request)
        return wire.reply()


def lives(served: Served) -> bool:
    return once(served.url, FILE).body == CONFIG


class TestConnections:
    def test_one_connection_serves_many_requests(self, served: Served) -> None:
        """Errors, refusals and answers without a body do not end it."""
        asked = [
            ("GET", FILE, 200),
            ("HEAD", LFS, 200),
            ("GET", "/org/none/resolve/main/x", 401),
            ("GET", LFS, 200),
            ("DELETE", FILE, 405),
            ("HEAD", "/org/none/resolve/main/x", 401),
            ("GET", f"/{MODEL}/resolve/main/empty.txt", 200),
            ("POST", f"/api/models/{MODEL}/paths-info/main", 200),
            ("GET", FILE, 200),
        ]
        with Wire(served.url) as wire:
            for method, path, status in asked:
                body = b"paths=config.json&expand=false" if method == "POST" else b""
                kind = "application/x-www-form-urlencoded"
                wire.ask(path, method, body, Content_Type=kind)
                reply = wire.reply(method)
                assert reply.status == status, (method, path)
                length = int(reply.headers["content-length"])
                assert len(reply.body) == (0 if method == "HEAD" else length)

    def test_a_client_may_wait_for_the_word_to_send_its_body(self, served: Served) -> None:
        """As curl does with large ones."""
        body = b"paths=config.json&expand=false"
        path = f"/api/models/{MODEL}/paths-info/main"
        with Wire(served.url) as wire:
            head = (
                f"POST {path} HTTP/1.1\r\nHost: {wire.host}\r\nExpect: 100-Continue\r\n"
                f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}"
            )
            wire.send(head.encode() + b"\r\n\r\n")
            assert wire.reply().status == 100
            wire.send(body)
            reply = wire.reply()
            assert reply.status == 200
            assert b"config.json" in reply.body
            wire.ask(FILE)
            assert wire.reply().body == CONFIG
        refused = raw(served, f"GET {FILE} HTTP/1.1\r\nHost: [::]\r\nExpect: tea\r\n\r\n".encode())
        assert refused.status == 417

    def test_requests_may_be_sent_before_answers_are_read(self, served: Served) -> None:
        with Wire(served.url) as wire:
            for n in range(20):
                wire.ask(LFS if n % 2 else FILE, Range=f"bytes={n % 5}-{n % 5 + 2}")
            for n in range(20):
                wanted = (WEIGHTS if n % 2 else CONFIG)[n % 5 : n % 5 + 3]
                assert wire.reply().body == wanted, n

    def test_a_request_may_come_byte_by_byte(self, served: Served) -> None:
        with Wire(served.url) as wire:
            wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in f"GET {FILE} HTTP/1.1\r\nHost: [::]\r\n\r\n".encode():
                wire.send(bytes([byte]))
            assert wire.reply().body == CONFIG

    def test_a_client_that_asked_for_it_is_parted_from(self, served: Served) -> None:
        with Wire(served.url) as wire:
            wire.ask(FILE, Connection="close")
            assert wire.reply().body == CONFIG
            assert wire.ended()

    @pytest.mark.parametrize("keep", [False, True])
    def test_http_1_0(self, served: Served, keep: bool) -> None:
        more = "Connection: keep-alive\r\n" if keep else ""
        with Wire(served.url) as wire:
            for _ in range(2 if keep else 1):
                wire.send(f"GET {LFS} HTTP/1.0\r\n{more}\r\n".encode())
                reply = wire.reply()
                assert (reply.status, reply.body) == (200, WEIGHTS)
                assert reply.headers["content-length"] == str(len(WEIGHTS))
            assert keep or wire.ended()

    def test_a_client_that_goes_in_the_middle_harms_no_other(self, served: Served) -> None:
        with Wire(served.url, buffer=4096) as wire:
            wire.ask(LFS, User_Agent="goes away")
            assert wire.read(1)
        until(lambda: _lines_of(served, "goes away"), "the access line")
        assert _lines_of(served, "goes away")[0]["status"] == 200
        assert lives(served)


def _lines_of(served: Served, agent: str) -> list[dict[str, object]]:
    return [line for line in served.node.access() if line.get("user-agent") == agent]


HOSTILE: dict[str, str | bytes] = {
    "dots": f"/{MODEL}/resolve/main/../../../../etc/passwd",
    "encoded dots": f"/{MODEL}/resolve/main/%2e%2e/%2E%2E/%2e%2e/etc/passwd",
    "encoded slashes": f"/{MODEL}/resolve/main/..%2f..%2f..%2fetc%2fpasswd",
    "absolute": f"/{MODEL}/resolve/main//etc/passwd",
    "encoded absolute": f"/{MODEL}/resolve/main/%2Fetc%2Fpasswd",
    "nul": f"/{MODEL}/resolve/main/config.json%00.txt",
    "nul in ref": f"/{MODEL}/resolve/ma%00in/config.json",
    "line break": f"/{MODEL}/resolve/main/a%0d%0aX-Evil:%201",
    "line break in ref": f"/{MODEL}/resolve/a%0d%0aX-Evil:%201/config.json",
    "line break in repo": "/org/a%0d%0aX-Evil:%201/resolve/main/config.json",
    "ref upwards": f"/{MODEL}/resolve/..%2f..%2fmain/config.json",
    "ref as path": f"/{MODEL}/resolve/%2Fetc%2Fpasswd/config.json",
    "hidden ref": f"/{MODEL}/resolve/.about/config.json",
    "bare slash in ref": f"/{MODEL}/resolve/feature/x/old.txt",
    "backslash": f"/{MODEL}/resolve/main/deep\\er",
    "encoded backslash": f"/{MODEL}/resolve/main/..%5c..%5cetc%5cpasswd",
    "long": f"/{MODEL}/resolve/main/{'a' * 4096}",
    "long and deep": f"/{MODEL}/resolve/main/{'a/' * 2048}",
    "long ref": f"/{MODEL}/resolve/{'a' * 4096}/config.json",
    "long repo": f"/org/{'a' * 4096}/resolve/main/config.json",
    "too long": f"/{MODEL}/resolve/main/{'a' * 9000}",
    "all nul": f"/{MODEL}/resolve/main/{'%00' * 2600}",
    "no utf-8": f"/{MODEL}/resolve/main/%ff%fe",
    "no utf-8 ref": f"/{MODEL}/resolve/%ff%fe/config.json",
    "raw bytes": b"/org/model/resolve/main/\xff\xfe",
    "half an escape": f"/{MODEL}/resolve/main/%4",
    "no escape": f"/{MODEL}/resolve/main/%zz",
    "double escape": f"/{MODEL}/resolve/main/%2563onfig.json",
    "emoji": f"/{MODEL}/resolve/%F0%9F%98%80/%F0%9F%98%80.txt",
    "right to left": f"/{MODEL}/resolve/main/a%E2%80%AEtxt.json",
    "surrogate": f"/{MODEL}/resolve/main/%ED%A0%80",
    "repo upwards": "/org/../resolve/main/config.json",
    "api upwards": "/api/models/%2e%2e/%2e%2e",
    "api three parts": "/api/models/a/b/c/d/e",
    "tree upwards": f"/api/models/{MODEL}/tree/main/../../..",
    "paths-info upwards": f"/api/models/{MODEL}/paths-info/..%2f..",
    "device": "/org/CON/resolve/main/config.json",
    "git": f"/{MODEL}/resolve/main/.git/config",
    "slashes": "//////",
    "host as path": "//example.invalid/config.json",
    "own files": "/outlast.json",
    "refs folder": f"/refs/models/{MODEL}/main",
    "star": "*",
}


class TestHostileTargets:
    @pytest.mark.parametrize("name", HOSTILE)
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_they_are_refused(self, served: Served, name: str, method: str) -> None:
        reply = once(served.url, HOSTILE[name], method)
        assert reply.status in {400, 401, 404, 405, 414}, reply
        assert "x-evil" not in reply.headers
        assert b"root:" not in reply.body
        assert sum(len(value) for value in reply.headers.values()) < 4000
        assert lives(served)

    def test_an_encoded_slash_belongs_to_the_ref(self, served: Served) -> None:
        path = f"/{MODEL}/resolve/feature%2Fx/old.txt"
        assert once(served.url, path).body == b"old\n"
        assert once(served.url, path.replace("%2F", "%2f")).body == b"old\n"

    def test_the_target_may_name_the_host(self, served: Served) -> None:
        assert once(served.url, f"http://localhost{FILE}").body == CONFIG
        assert once(served.url, f"http://elsewhere.invalid{FILE}").status == 421

    def test_a_query_does_not_matter(self, served: Served) -> None:
        assert once(served.url, f"{FILE}?download=true&x=%ff&&=&y").body == CONFIG


BROKEN = {
    "nonsense": b"GARBAGE\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    "no host": f"GET {FILE} HTTP/1.1\r\n\r\n".encode(),
    "nul in a header": f"GET {FILE} HTTP/1.1\r\nHost: [::]\r\nA: b\0c\r\n\r\n".encode(),
    "bare line feed": f"GET {FILE} HTTP/1.1\r\nHost: [::]\r\nRange: a\nA: b\r\n\r\n".encode(),
    "folded header": f"GET {FILE} HTTP/1.1\r\nHost: [::]\r\n A: b\r\n\r\n".encode(),
    "space before colon": f"GET {FILE} HTTP/1.1\r\nHost: [::]\r\nA : b\r\n\r\n".encode(),
    "two lengths": (
        b"POST /api HTTP/1.1\r\nHost: [::]\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"
    ),
    "length and chunks": (
        b"POST /api HTTP/1.1\r\nHost: [::]\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "negative length": b"POST /api HTTP/1.1\r\nHost: [::]\r\nContent-Length: -5\r\n\r\n",
    "bad chunk": (
        f"POST /api/models/{MODEL}/paths-info/main HTTP/1.1\r\nHost: [::]\r\n"
        "Transfer-Encoding: chunked\r\n\r\nZZ\r\n"
    ).encode(),
    "unknown method": f"FOO {FILE} HTTP/1.1\r\nHost: [::]\r\n\r\n".encode(),
    "small letters": f"get {FILE} HTTP/1.1\r\nHost: [::]\r\n\r\n".encode(),
    "huge header": f"GET {FILE} HTTP/1.1\r\nHost: [::]\r\nA: {'a' * 100_000}\r\n\r\n".encode(),
    "huge name": f"GET {FILE} HTTP/1.1\r\nHost: [::]\r\n{'A' * 100_000}: a\r\n\r\n".encode(),
    "many headers": (
        f"GET {FILE} HTTP/1.1\r\nHost: [::]\r\n"
        + "".join(f"A{n}: {'a' * 100}\r\n" for n in range(5000))
        + "\r\n"
    ).encode(),
}


class TestBrokenRequests:
    @pytest.mark.parametrize("name", BROKEN)
    def test_they_are_refused_and_the_connection_ends(self, served: Served, name: str) -> None:
        with Wire(served.url) as wire:
            try:
                wire.send(BROKEN[name])
                status = wire.reply().status
            except (ConnectionError, EOFError):
                status = 400  # closed while we were still sending
            assert status in {400, 405, 411, 413, 431}
            assert wire.ended()
        assert lives(served)

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
    @pytest.mark.parametrize("path", [FILE, "/healthz", "/metrics", f"/api/models/{MODEL}"])
    def test_methods_that_change_things(self, served: Served, method: str, path: str) -> None:
        reply = once(served.url, path, method, b"body" if method in {"POST", "PUT"} else b"")
        assert reply.status == 405
        assert {name.strip() for name in reply.headers["allow"].split(",")} == {"GET", "HEAD"}

    def test_paths_info_is_only_for_post(self, served: Served) -> None:
        reply = once(served.url, f"/api/models/{MODEL}/paths-info/main")
        assert (reply.status, reply.headers["allow"]) == (405, "POST")

    @pytest.mark.parametrize("target", ["OPTIONS *", "CONNECT example.invalid:80"])
    def test_targets_that_are_no_paths(self, served: Served, target: str) -> None:
        reply = raw(
            served, f"{target} HTTP/1.1\r\nHost: [::]\r\nConnection: close\r\n\r\n".encode()
        )
        assert 400 <= reply.status < 500
