"""Requests that a browser sends for others: names that lead here, and pages of other sites."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.server.http.hosts import Hosts
from tests.clients.contract import MODEL
from tests.serve.conftest import Served
from tests.serve.node import Node, outlast, until
from tests.serve.peers import V1, Peer
from tests.serve.wire import Reply, Wire, once

FILE = f"/{MODEL}/resolve/main/config.json"
EVIL = "rebound.example"
OWN = socket.gethostname().lower()


def asked(url: str, *lines: str, target: str = FILE, version: str = "1.1") -> Reply:
    """The answer to a request with just these header lines."""
    with Wire(url) as wire:
        head = [f"GET {target} HTTP/{version}", *lines, "Connection: close"]
        wire.send("\r\n".join(head).encode() + b"\r\n\r\n")
        return wire.reply()


@pytest.fixture(scope="module")
def named(served: Served) -> Iterator[Node]:
    """A node that has names of its own."""
    flags = ("--host", "Models.Example", "--host", "mirror.example.")
    with Node(served.node.home, *flags) as node:
        yield node


class TestEveryListener:
    @pytest.mark.parametrize("path", ["/healthz", "/metrics", "/api/models", FILE, "/", "/nothing"])
    def test_the_hub(self, served: Served, path: str) -> None:
        reply = asked(served.url, f"Host: {EVIL}", target=path)
        assert reply.status == 421
        assert "--host" in reply.headers["x-error-message"]
        assert EVIL.encode() not in reply.body

    @pytest.mark.parametrize(
        "path", [f"{V1}/node", f"{V1}/models", "/announce?info_hash=x", "/scrape", "/nothing"]
    )
    def test_the_peer_port_and_its_tracker(self, peer: Peer, path: str) -> None:
        assert asked(peer.url, f"Host: {EVIL}:8091", target=path).status == 421
        assert asked(peer.url, "Host: localhost:8091", target=path).status != 421

    def test_the_peer_port_has_the_same_names(self, peer: Peer) -> None:
        before = peer.server
        with peer.serving(hosts=["models.example"]):
            assert asked(peer.url, "Host: models.example", target=f"{V1}/node").status == 200
        peer.server = before

    @pytest.mark.parametrize("request_", [b"GET / HTTP/1.1\r\n\r\n", b"NONSENSE\r\n\r\n", None])
    def test_no_answer_tells_the_versions_of_what_runs(
        self, served: Served, peer: Peer, request_: bytes | None
    ) -> None:
        for url in (served.url, peer.url):
            with Wire(url) as wire:
                wire.send(request_ or f"GET {FILE} HTTP/1.1\r\nHost: {wire.host}\r\n\r\n".encode())
                assert wire.reply().headers["server"] == "outlast"

    def test_a_refused_request_has_its_line(self, named: Node) -> None:
        asked(named.url, f"Host: {EVIL}", "User-Agent: rebinds")
        until(lambda: any(x.get("user-agent") == "rebinds" for x in named.access()), "its line")
        (line,) = (line for line in named.access() if line.get("user-agent") == "rebinds")
        assert (line["what"], line["status"], line["path"]) == ("refused", 421, FILE)


class TestNames:
    @pytest.mark.parametrize(
        "host",
        [
            "localhost",
            "LOCALHOST.:1",
            "127.0.0.1:9",
            "[::1]:80",
            "a.localhost",
            "192.0.2.1",
            "[::]",
        ],
    )
    def test_loopback_names_and_addresses_are_answered(self, served: Served, host: str) -> None:
        assert asked(served.url, f"Host: {host}").status == 200

    @pytest.mark.parametrize(
        "host",
        [
            EVIL,
            f"localhost.{EVIL}",
            f"127.0.0.1.{EVIL}",
            "127.1",
            "0x7f000001",
            "notlocalhost",
            "example",
            f"xn--{OWN}",
        ],
    )
    def test_other_names_are_not(self, served: Served, host: str) -> None:
        assert asked(served.url, f"Host: {host}").status == 421

    @pytest.mark.parametrize("host", ["models.example", "MODELS.example:443", "mirror.example"])
    def test_names_that_the_operator_gave(self, named: Node, host: str) -> None:
        assert asked(named.url, f"Host: {host}").status == 200
        assert asked(named.url, f"Host: x.{host}").status == 421

    def test_the_machines_own_name_counts_where_others_can_come(self) -> None:
        for listen in ("0.0.0.0", "", "192.0.2.9", "::"):  # noqa: S104 - that is the point
            hosts = Hosts(listen)
            for name in (OWN, f"{OWN.partition('.')[0]}.local", f"{OWN.partition('.')[0]}.lan"):
                assert hosts.knows(name), (listen, name)
            assert not hosts.knows(f"{OWN}.{EVIL}")
        for listen in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
            assert not Hosts(listen).knows(f"{OWN}.local")

    def test_the_name_that_it_listens_on(self) -> None:
        assert Hosts("box.example").knows("box.example:8090")

    @pytest.mark.parametrize(
        "lines",
        [
            [],
            ["Host:"],
            ["Host: a b"],
            ["Host: localhost", "Host: localhost"],
            ["Host: localhost", f"Host: {EVIL}"],
            ["Host: user@localhost"],
            ["Host: localhost/x"],
            ["Host: localhost:http"],
            ["Host: http://localhost"],
            ["Host: localhost,localhost"],
            ["Host: [::1"],
            ["Host: [::1]x"],
            ["Host: [localhost]"],
        ],
    )
    def test_what_is_no_host_is_refused_and_the_connection_ends(
        self, served: Served, lines: list[str]
    ) -> None:
        with Wire(served.url) as wire:
            wire.send("\r\n".join([f"GET {FILE} HTTP/1.1", *lines]).encode() + b"\r\n\r\n")
            assert wire.reply().status == 400
            assert wire.ended()

    @pytest.mark.parametrize("target", ["http://{}{}", "https://{}:8090{}", "http://u@{}{}"])
    def test_a_target_that_names_the_host_is_checked_too(self, served: Served, target: str) -> None:
        wanted = target.format(EVIL, FILE)
        assert asked(served.url, "Host: localhost", target=wanted).status in {400, 421}

    def test_old_clients_name_no_host(self, served: Served) -> None:
        assert asked(served.url, version="1.0").status == 200
        assert asked(served.url, f"Host: {EVIL}", version="1.0").status == 421

    @given(st.text(max_size=80))
    def test_no_text_is_taken_for_a_name_that_was_not_allowed(self, text: str) -> None:
        hosts = Hosts("127.0.0.1", ["models.example"])
        if hosts.knows(text):
            name = text.lower().rpartition(":")[0] if text[-1:].isdigit() else text.lower()
            assert name.removesuffix(".").endswith(("localhost", "models.example", "]")) or (
                set(text) <= set("0123456789.:")
            )


CROSS = {"Sec_Fetch_Site": "cross-site"}
VISIT = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}


class TestPagesOfOthers:
    @pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", "none, cross-site"])
    @pytest.mark.parametrize("mode", ["no-cors", "cors", "same-origin", ""])
    def test_they_may_not_read_nor_make_us_fetch(
        self, served: Served, site: str, mode: str
    ) -> None:
        for path in (FILE, "/api/models", "/"):
            reply = once(served.url, path, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode)
            assert reply.status == 403

    @pytest.mark.parametrize("path", [FILE, "/api/models", "/metrics"])
    def test_nor_by_leading_their_visitors(self, served: Served, path: str) -> None:
        assert once(served.url, path, **CROSS, **VISIT).status == 403

    @pytest.mark.parametrize("more", [{"Sec_Fetch_Dest": "iframe"}, {"Sec_Fetch_Mode": "no-cors"}])
    def test_nor_in_frames(self, served: Served, more: dict[str, str]) -> None:
        assert once(served.url, "/", **CROSS, **(VISIT | more)).status == 403

    def test_a_link_to_a_page_of_ours_may_be_followed(self, served: Served) -> None:
        assert once(served.url, "/", **CROSS, **VISIT).status != 403
        assert once(served.url, "/", "POST", b"", **CROSS, **VISIT).status == 403

    @pytest.mark.parametrize("site", ["same-origin", "none"])
    def test_our_own_pages_and_the_address_bar(self, served: Served, site: str) -> None:
        assert once(served.url, FILE, Sec_Fetch_Site=site).status == 200

    @pytest.mark.parametrize(
        "origin",
        ["null", f"http://{EVIL}", "http://localhost:1", "chrome-extension://abc", "", "file://"],
    )
    def test_another_origin_is_refused(self, served: Served, origin: str) -> None:
        assert once(served.url, FILE, Origin=origin).status == 403

    def test_our_own_origin_is_not(self, served: Served) -> None:
        with Wire(served.url) as wire:
            wire.ask(FILE, Origin=f"http://{wire.host}")
            assert wire.reply().status == 200
            wire.ask(FILE, Origin=f"https://{wire.host}")  # a proxy may have taken the TLS off
            assert wire.reply().status == 200

    def test_the_peer_port(self, peer: Peer) -> None:
        assert once(peer.url, f"{V1}/node", Sec_Fetch_Site="cross-site").status == 403
        assert once(peer.url, f"{V1}/node", Origin=f"http://{EVIL}").status == 403


def test_a_name_that_is_none_is_told_at_the_start(served: Served) -> None:
    for name in ("models.example:443", "http://x", "", "a b", "*"):
        with pytest.raises(RuntimeError, match="not a host name"):
            outlast(served.node.home, "serve", "--listen", "127.0.0.1:0", "--host", name)
