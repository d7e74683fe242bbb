"""The peer port: what neighbours get, what strangers do not."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from outlast.codec.merkle import PIECE, Tree, piece_hash, root_of_layer
from outlast.codec.payload import Form, Payload
from outlast.core.cancel import Cancel
from outlast.core.digest import Digest
from outlast.core.errors import BadConfigError
from outlast.node import payloads
from outlast.node.in_flight import Arriving, InFlight
from outlast.server.node import peer_port as peering
from outlast.sources.peer import SAMPLE
from outlast.store.archive import Archive
from outlast.swarm.schedule import Rates
from outlast.swarm.tracker.tracker import Tracker
from tests.serve.forms import BLOCK, flip, floats, pack, tuned
from tests.serve.node import until
from tests.serve.peers import (
    COMMIT,
    FILES,
    NODE,
    OPEN,
    PLAIN,
    SECRETS,
    SMALL,
    V1,
    WEIGHTS,
    Peer,
    Shares,
    archive_files,
    fill,
    get,
    sha,
)
from tests.serve.peers import SECRET as SECRET_REPO
from tests.serve.wire import Wire, once

SECRET = SECRETS["weights.bin"]
PIECES = range(0, 3 * PIECE, PIECE)


def document(peer: Peer, path: str) -> Any:
    reply = get(peer, path)
    assert reply.status == 200, reply
    assert reply.headers["content-type"].startswith("application/json")
    return json.loads(reply.body)


def ask_payloads(peer: Peer, *blobs: Digest) -> dict[str, Any]:
    body = json.dumps({"blobs": [blob.hex for blob in blobs]}).encode()
    reply = once(peer.url, f"{V1}/payloads", "POST", body)
    assert reply.status == 200, reply
    found: dict[str, Any] = json.loads(reply.body)["payloads"]
    return found


class TestDocuments:
    def test_who_it_is(self, peer: Peer) -> None:
        assert document(peer, "/node") == {
            "outlast": 1,
            "node": NODE.hex(),
            "version": "0.0",
            "swarm_port": 6881,
            "peer_port": peer.server.port,
            "private": False,
        }

    def test_models(self, peer: Peer) -> None:
        [offer] = [offer for offer in peer.shares.offered if not offer.restricted]
        assert document(peer, "/models") == {
            "models": [
                {
                    "repo": "org/open",
                    "commit": COMMIT.hex,
                    "manifest": offer.manifest.hex,
                    "refs": ["main", "v1.0"],
                    "files": len(FILES),
                    "bytes": sum(map(len, FILES.values())),
                    "partial": False,
                    "restricted": False,
                }
            ],
            "next": None,
        }

    def test_models_by_name(self, peer: Peer) -> None:
        assert len(document(peer, "/models?q=OPEN")["models"]) == 1
        assert document(peer, "/models?q=none")["models"] == []

    def test_models_page_by_page(self, peer: Peer) -> None:
        peer.trusts = True
        with peer.beside(peer_page=1):
            first = document(peer, "/models")
            second = document(peer, f"/models?cursor={first['next']}")
        assert [row["repo"] for page in (first, second) for row in page["models"]] == [
            "org/open",
            "org/secret",
        ]
        assert (first["next"], second["next"]) == (1, None)

    @pytest.mark.parametrize("cursor", ["-1", "x", "99999999999999999999"])
    def test_a_cursor_that_is_none(self, peer: Peer, cursor: str) -> None:
        assert len(document(peer, f"/models?cursor={cursor}")["models"]) == 1

    def test_a_manifest(self, peer: Peer) -> None:
        offer = peer.shares.offered[0]
        assert (
            get(peer, f"/manifests/{offer.manifest}").body
            == (peer.shares.manifests[offer.manifest])
        )

    def test_payloads(self, peer: Peer) -> None:
        capsule = payloads.tree(peer.archive, sha(WEIGHTS), Form.CAPSULE, Cancel())
        plain = payloads.tree(peer.archive, sha(PLAIN), Form.PLAIN, Cancel())
        weights = peer.archive.index.root_of(sha(WEIGHTS))
        assert weights is not None
        found = ask_payloads(peer, sha(WEIGHTS), sha(PLAIN), sha(b"elsewhere"))
        assert found == {
            sha(WEIGHTS).hex: {
                "size": len(WEIGHTS),
                "root": weights.hex,
                "have": len(WEIGHTS),
                "forms": [_form("capsule", capsule)],
            },
            sha(PLAIN).hex: {
                "size": len(PLAIN),
                "root": plain.root.hex,
                "have": len(PLAIN),
                "forms": [_form("plain", plain)],
            },
        }

    def test_payloads_that_arrive(self, peer: Peer) -> None:
        data = Random(3).randbytes(3 << 20)
        layer = b"".join(piece_hash(memoryview(data)[at : at + PIECE]) for at in PIECES)
        tree = Tree(len(data), root_of_layer(layer), layer)
        payload = Payload(sha(data), Form.PLAIN, len(data), tree.root)
        peer.in_flight[sha(data)] = InFlight(payload, len(data), tree, lambda: 2)
        assert ask_payloads(peer, sha(data)) == {}
        assert get(peer, f"/layers/{tree.root}").status == 404
        peer.shares.known.add(sha(data))
        assert ask_payloads(peer, sha(data)) == {
            sha(data).hex: {
                "size": len(data),
                "root": tree.root.hex,
                "have": 2 << 20,
                "forms": [_form("plain", tree)],
            }
        }
        assert get(peer, f"/layers/{tree.root}").body == layer
        assert get(peer, f"/blobs/{sha(data)}").status == 404

    def test_what_arrives_without_a_tree(self, peer: Peer) -> None:
        """Others see how much of it is here, and a few bytes of that."""
        data, here = Random(4).randbytes(3 << 20), 2 << 20
        blob, path = sha(data), f"/arriving/{sha(data)}"

        def sample(start: int, stop: int) -> bytes | None:
            return data[start:stop] if stop <= here else None

        peer.arriving[blob] = Arriving(len(data), lambda: here, sample)
        some = "bytes=1000-1999"
        assert ask_payloads(peer, blob) == {}
        assert get(peer, path, Range=some).status == 404  # not shared with it
        peer.shares.known.add(blob)
        document: dict[str, Any] = {"size": len(data), "root": None, "have": here, "forms": []}
        assert ask_payloads(peer, blob) == {blob.hex: document}
        found = get(peer, path, Range=some)
        assert (found.status, found.body) == (206, data[1000:2000])
        assert peer.source().sample(blob, len(data), 5, 10.0) == data[5 : 5 + SAMPLE]
        assert get(peer, path).status == 400
        assert get(peer, path, Range=f"bytes=0-{SAMPLE}").status == 400
        assert get(peer, path, Range=f"bytes={here - 1}-{here}").status == 404
        assert get(peer, path, Range=f"bytes={len(data)}-").status == 416
        assert get(peer, f"/arriving/{sha(b'another')}", Range=some).status == 404

    def test_what_the_asker_has_is_not_sent(self, peer: Peer) -> None:
        tag = f'"{sha(PLAIN).hex}"'
        path = f"/blobs/{sha(PLAIN)}"
        assert get(peer, path, If_None_Match=tag).status == 304
        assert get(peer, path, If_None_Match='"other"').body == PLAIN

    def test_a_layer(self, peer: Peer) -> None:
        for data, form in ((PLAIN, Form.PLAIN), (WEIGHTS, Form.CAPSULE), (WEIGHTS, Form.PLAIN)):
            tree = payloads.tree(peer.archive, sha(data), form, Cancel())
            body = get(peer, f"/layers/{tree.root}").body
            assert Tree.checked(tree.size, tree.root, body) == tree
        assert get(peer, f"/layers/{sha(b'no root')}").status == 404

    def test_the_tracker(self, peer: Peer) -> None:
        query = "info_hash=%00%ff&port=1"
        for trusts in (False, True):
            peer.trusts = trusts
            told = once(peer.url, f"/announce?{query}").body
            assert told == f"announce 127.0.0.1 {query} {trusts} 127.0.0.1".encode()
        assert once(peer.url, f"/scrape?{query}").body == f"scrape 127.0.0.1 {query}".encode()

    def test_two_clients_find_each_other(self, tmp_path: Path) -> None:
        peer = fill(tmp_path / "home", packed=())
        peer.tracker = Tracker()
        query = "/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&compact=1&left=5&port={}&peer_id={}"
        with peer.archive, peer.serving():
            for port in (7001, 7002):
                reply = once(peer.url, query.format(port, str(port) * 5))
                assert reply.status == 200
        assert socket.inet_aton("127.0.0.1") + (7001).to_bytes(2, "big") in reply.body

    def test_what_is_counted(self, peer: Peer) -> None:
        before = peer.server.sent
        assert get(peer, f"/blobs/{sha(PLAIN)}").complete
        until(lambda: peer.server.sent == before + len(PLAIN), "the count")


def _form(name: str, tree: Tree) -> dict[str, Any]:
    return {"form": name, "size": tree.size, "root": tree.root.hex, "bases": []}


class TestBytes:
    @pytest.mark.parametrize(
        "data", [PLAIN, WEIGHTS, SMALL, b""], ids=["plain", "capsule", "s", ""]
    )
    def test_whole(self, peer: Peer, data: bytes) -> None:
        reply = get(peer, f"/blobs/{sha(data)}")
        assert (reply.status, reply.body) == (200, data)
        assert reply.headers["etag"] == f'"{sha(data)}"'

    @pytest.mark.parametrize("data", [PLAIN, WEIGHTS], ids=["plain", "capsule"])
    @pytest.mark.parametrize(
        ("start", "stop"), [(0, 1), (5, BLOCK + 9), (BLOCK - 1, BLOCK + 1), (1000, None)]
    )
    def test_a_part(self, peer: Peer, data: bytes, start: int, stop: int | None) -> None:
        stop = stop or len(data)
        reply = get(peer, f"/blobs/{sha(data)}", Range=f"bytes={start}-{stop - 1}")
        assert (reply.status, reply.body) == (206, data[start:stop])
        assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(data)}"

    def test_a_capsule_as_it_is(self, peer: Peer) -> None:
        stored = peer.archive.layout.capsule(sha(WEIGHTS)).read_bytes()
        assert get(peer, f"/capsules/{sha(WEIGHTS)}").body == stored
        reply = get(peer, f"/capsules/{sha(WEIGHTS)}", Range="bytes=7-99")
        assert (reply.status, reply.body) == (206, stored[7:100])
        assert get(peer, f"/capsules/{sha(PLAIN)}").status == 404

    @pytest.mark.parametrize("kind", ["blobs", "capsules"])
    def test_head(self, peer: Peer, kind: str) -> None:
        with Wire(peer.url) as wire:
            for method in ("HEAD", "GET"):
                wire.ask(f"{V1}/{kind}/{sha(WEIGHTS)}", method)
                reply = wire.reply(method)
                assert reply.status == 200
                if method == "HEAD":
                    assert reply.body == b""
                    length = reply.headers["content-length"]
            assert int(length) == len(reply.body)

    def test_outside(self, peer: Peer) -> None:
        reply = get(peer, f"/blobs/{sha(PLAIN)}", Range=f"bytes={len(PLAIN)}-")
        assert reply.status == 416
        assert reply.headers["content-range"] == f"bytes */{len(PLAIN)}"

    def test_another_file_meanwhile(self, peer: Peer) -> None:
        reply = get(peer, f"/blobs/{sha(PLAIN)}", Range="bytes=5-9", If_Range='"another"')
        assert (reply.status, reply.body) == (200, PLAIN)

    def test_what_is_damaged_ends_early(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        peer = fill(tmp_path / "home")
        path = peer.archive.layout.capsule(sha(WEIGHTS))
        flip(path, path.stat().st_size // 2)
        with peer.archive, peer.serving():
            reply = get(peer, f"/blobs/{sha(WEIGHTS)}")
            assert not reply.complete
            assert WEIGHTS.startswith(reply.body)
            assert get(peer, f"/blobs/{sha(PLAIN)}").complete
        assert "damage" in capsys.readouterr().err


class TestWhoMay:
    def test_strangers_do_not_learn_of_it(self, peer: Peer) -> None:
        manifest = peer.shares.offered[1].manifest
        tree = payloads.tree(peer.archive, sha(SECRET), Form.PLAIN, Cancel())
        unknown = sha(b"unknown")
        for kind, name in (
            ("manifests", manifest),
            ("blobs", sha(SECRET)),
            ("capsules", sha(SECRET)),
            ("layers", tree.root),
        ):
            mine, other = get(peer, f"/{kind}/{name}"), get(peer, f"/{kind}/{unknown}")
            assert mine.status == other.status == 404
            assert mine.body.replace(name.short.encode(), b"") == (
                other.body.replace(unknown.short.encode(), b"")
            )
        assert ask_payloads(peer, sha(SECRET)) == {}
        assert [row["repo"] for row in document(peer, "/models")["models"]] == ["org/open"]

    def test_static_peers_get_it(self, peer: Peer) -> None:
        peer.trusts = True
        assert get(peer, f"/blobs/{sha(SECRET)}").body == SECRET
        assert ask_payloads(peer, sha(SECRET)).keys() == {sha(SECRET).hex}
        rows = document(peer, "/models?q=secret")["models"]
        assert [(row["repo"], row["restricted"]) for row in rows] == [("org/secret", True)]
        assert get(peer, f"/manifests/{rows[0]['manifest']}").status == 200

    def test_the_address_that_is_asked_for_is_plain(self, tmp_path: Path) -> None:
        peer = fill(tmp_path / "home")
        with peer.archive, peer.serving(""):
            assert get(peer, "/models").status == 200  # over IPv4, to a socket for both families
            with socket.create_connection(("::1", peer.server.port)) as sock:
                sock.sendall(
                    b"GET /outlast/v1/models HTTP/1.1\r\nHost: [::]\r\nConnection: close\r\n\r\n"
                )
                assert sock.makefile("rb").read().startswith(b"HTTP/1.1 200")
        assert peer.asked == ["127.0.0.1", "::1"]

    def test_in_private_strangers_do_not_get_a_byte(self, tmp_path: Path) -> None:
        peer = fill(tmp_path / "home")
        peer.private = True
        with peer.archive, peer.serving():
            with Wire(peer.url) as asking:
                asking.ask(f"{V1}/node")
                assert asking.ended()
            with Wire(peer.url) as silent:
                assert silent.ended()
                assert not silent.was_reset
            peer.trusts = True
            assert document(peer, "/node")["private"] is True


class TestListening:
    def test_the_default_port_is_taken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        peer = fill(tmp_path / "home", packed=())
        with peer.archive, socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            monkeypatch.setattr(peering, "DEFAULT_PORT", port)
            with peer.serving(port=port):
                assert peer.server.port not in {0, port}
                assert document(peer, "/node")["peer_port"] == peer.server.port

    def test_a_port_that_was_asked_for_is_taken(self, tmp_path: Path) -> None:
        peer = fill(tmp_path / "home")
        with peer.archive, peer.serving():
            port, other = peer.server.port, Peer(peer.archive)
            with pytest.raises(BadConfigError, match=f":{port}"), other.serving(port=port):
                pass

    @pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "a" * 300, "\0"])
    def test_hosts_that_are_not_here(self, tmp_path: Path, host: str) -> None:
        peer = fill(tmp_path / "home", packed=())
        with peer.archive, pytest.raises(BadConfigError), peer.serving(host):
            pass

    def test_it_ends_under_way(self, tmp_path: Path) -> None:
        peer = fill(tmp_path / "home")
        peer.rates = Rates(lan_up=16 * 1024)
        with peer.archive, peer.serving(), Wire(peer.url) as wire:
            wire.ask(f"{V1}/blobs/{sha(PLAIN)}")
            assert wire.head().status == 200
            peer.server.close()
            while wire.read(1 << 16):
                pass


class TestACapsuleAgainstARestrictedBase:
    """The fine-tune is open, but its capsule together with it gives away the base."""

    @pytest.fixture
    def peer(self, tmp_path: Path) -> Iterator[Peer]:
        base, fine = floats(2), tuned(floats(2))
        archive, shares = Archive(tmp_path / "home", create=True), Shares()
        with archive:
            shares.share(archive_files(archive, OPEN, {"w.safetensors": fine}), "main")
            secret = archive_files(archive, SECRET_REPO, {"w.safetensors": base})
            shares.share(secret, "main", restricted=True)
            pack(tmp_path / "home", sha(fine).hex, sha(base).hex)
            payloads.tree(archive, sha(fine), Form.CAPSULE, Cancel())
            with Peer(archive, shares).serving() as peer:
                yield peer

    def test_strangers_get_the_plain_bytes(self, peer: Peer) -> None:
        fine = tuned(floats(2))
        assert get(peer, f"/capsules/{sha(fine)}").status == 404
        assert ask_payloads(peer, sha(fine))[sha(fine).hex]["forms"] == []
        assert get(peer, f"/blobs/{sha(fine)}").body == fine

    def test_static_peers_get_the_capsule(self, peer: Peer) -> None:
        peer.trusts = True
        fine = tuned(floats(2))
        stored = peer.archive.layout.capsule(sha(fine)).read_bytes()
        assert get(peer, f"/capsules/{sha(fine)}").body == stored
        (form,) = ask_payloads(peer, sha(fine))[sha(fine).hex]["forms"]
        assert [base["sha256"] for base in form["bases"]] == [sha(floats(2)).hex]

    def test_nor_while_it_arrives(self, peer: Peer) -> None:
        fine = tuned(floats(2))
        (payload,) = payloads.held(peer.archive, sha(fine))
        tree = peer.archive.tree(sha(fine), Form.CAPSULE)
        assert tree is not None
        peer.in_flight[sha(fine)] = InFlight(payload, len(fine), tree, lambda: 1)
        peer.archive.layout.capsule(sha(fine)).unlink()
        assert ask_payloads(peer, sha(fine)) == {}
        peer.trusts = True
        assert ask_payloads(peer, sha(fine))
