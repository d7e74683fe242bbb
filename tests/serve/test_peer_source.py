"""A peer as a source: what peers answer that hubs do not. Lies: tests/sources/test_peer.py."""

import socket
from pathlib import Path

import pytest

from outlast.codec import merkle
from outlast.codec.payload import Form
from outlast.core.cancel import Cancel
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    NotFoundError,
    RevisionNotFoundError,
)
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.node import payloads
from outlast.sources.base import PayloadSource, Source
from outlast.sources.peer import PeerSource
from tests.core.test_manifest import WIDE_PATHS
from tests.serve.forms import BLOCK, floats, pack, tuned
from tests.serve.peers import (
    COMMIT,
    FILES,
    NODE,
    OPEN,
    PLAIN,
    SECRET,
    SMALL,
    WEIGHTS,
    Peer,
    archive_files,
    client,
    fill,
    read,
    sha,
)

BLOB = sha(b"a blob")


class TestAnswers:
    def test_it_is_a_source(self, peer: Peer) -> None:
        source: Source = peer.source()
        assert isinstance(source, PayloadSource)
        assert source.name == f"peer 127.0.0.1:{peer.server.port}"

    def test_node(self, peer: Peer) -> None:
        node = peer.source().node()
        assert (node.node, node.peer_port, node.private) == (NODE, peer.server.port, False)

    def test_models(self, peer: Peer) -> None:
        assert [model.repo for model in peer.source().models()] == [OPEN]
        peer.trusts = True
        with peer.beside(peer_page=1):
            found = peer.source().models()
        assert [(model.repo, model.restricted) for model in found] == [
            (OPEN, False),
            (SECRET, True),
        ]
        assert [model.repo for model in peer.source().models("seCRet")] == [SECRET]

    def test_what_is_restricted_there_is_private_here(self, peer: Peer) -> None:
        peer.trusts = True
        assert peer.source().describe(SECRET, "main").facts.private is True

    def test_a_commit_by_its_beginning(self, peer: Peer) -> None:
        source = peer.source()
        assert source.describe(OPEN, COMMIT.hex[:7]).commit == COMMIT
        with pytest.raises(RevisionNotFoundError):
            source.describe(OPEN, COMMIT.hex[:6])

    def test_a_manifest(self, peer: Peer) -> None:
        offer = peer.shares.offered[0]
        revision = peer.source().manifest(offer.manifest)
        assert revision.digest == offer.manifest
        with pytest.raises(NotFoundError):
            peer.source().manifest(BLOB)

    def test_payloads(self, peer: Peer) -> None:
        found = peer.source().payloads([sha(WEIGHTS), BLOB, sha(PLAIN), sha(WEIGHTS)])
        assert found.keys() == {sha(WEIGHTS), sha(PLAIN)}
        held = found[sha(WEIGHTS)]
        assert (held.size, held.whole) == (len(WEIGHTS), True)
        assert held.root == peer.archive.index.root_of(sha(WEIGHTS))
        assert held.forms == payloads.held(peer.archive, sha(WEIGHTS))
        assert [payload.form for payload in held.forms] == [Form.CAPSULE]

    def test_payloads_of_many(self, peer: Peer) -> None:
        many = [Digest(f"{n:064x}") for n in range(2500)]
        assert peer.source().payloads([*many, sha(PLAIN)]).keys() == {sha(PLAIN)}

    def test_a_capsule_checked_piece_by_piece(self, peer: Peer) -> None:
        source = peer.source()
        [payload] = source.payloads([sha(WEIGHTS)])[sha(WEIGHTS)].forms
        tree = source.layer(payload.root, payload.size)
        reader = source.open_capsule(payload.blob, payload.size, 0, payload.size)
        data = read(reader)
        for index in range(tree.count):
            at = index * merkle.PIECE
            assert tree.matches(index, memoryview(data)[at : at + tree.length(index)])
        assert read(source.open_capsule(payload.blob, payload.size, 9, 99)) == data[9:99]
        with pytest.raises(NotFoundError):
            source.open_capsule(sha(PLAIN), 10, 0, 10)

    def test_layers_of_plain_bytes(self, peer: Peer) -> None:
        for data in (PLAIN, WEIGHTS, SMALL):
            root = peer.archive.index.root_of(sha(data))
            assert root is not None
            tree = peer.source().layer(root, len(data))
            assert tree == payloads.tree(peer.archive, sha(data), Form.PLAIN, Cancel())

    def test_a_delta_capsule_names_its_bases(self, tmp_path: Path) -> None:
        base = floats(8)
        fine = tuned(base)
        peer = fill(tmp_path / "home", packed=())
        revision = archive_files(peer.archive, RepoId.parse("org/fine"), {"a": base, "b": fine})
        peer.shares.share(revision, "main")
        pack(tmp_path / "home", sha(fine).hex, sha(base).hex)
        payloads.tree(peer.archive, sha(fine), Form.DELTA, Cancel())
        with peer.archive, peer.serving():
            [payload] = peer.source().payloads([sha(fine)])[sha(fine)].forms
            assert payload.form is Form.DELTA
            assert [(base_.sha256, base_.size) for base_ in payload.bases] == [
                (sha(base), len(base))
            ]
            data = read(peer.source().open_capsule(sha(fine), payload.size, 0, payload.size))
            assert data == peer.archive.layout.capsule(sha(fine)).read_bytes()

    def test_what_a_partial_revision_lacks_is_listed_and_not_there(self, tmp_path: Path) -> None:
        peer = fill(tmp_path / "home", packed=())
        known = archive_files(peer.archive, RepoId.parse("org/part"), {"a.json": SMALL})
        lacking = FileEntry("b.json", 5, git_sha1=GitOid.of_blob(b"other"))
        part = Revision.of(known.repo, known.commit, known.files, [lacking])
        peer.shares.share(part, "main")
        with peer.archive, peer.serving():
            source = peer.source()
            listing = source.describe(part.repo, "main")
            assert [entry.path for entry in listing.entries] == ["a.json", "b.json"]
            with pytest.raises(NotFoundError):
                source.open(part.repo, part.id, lacking, 0, 5)

    def test_names_that_not_every_system_has(self, tmp_path: Path) -> None:
        peer = fill(tmp_path / "home", packed=())
        files = {path: path.encode() for path in WIDE_PATHS}
        revision = archive_files(peer.archive, RepoId.parse("org/wide"), files)
        peer.shares.share(revision, "main")
        with peer.archive, peer.serving():
            source = peer.source()
            assert source.manifest(revision.digest) == revision
            listing = source.describe(revision.repo, "main")
            assert not listing.unlisted
            assert {
                entry.path: read(source.open(listing.repo, listing.commit, entry, 0, entry.size))
                for entry in listing.entries
            } == files

    def test_the_more_complete_of_two_manifests(self, tmp_path: Path) -> None:
        peer = fill(tmp_path / "home", packed=())
        whole = peer.shares.offered[0]
        revision = Revision.from_bytes(peer.shares.manifests[whole.manifest])
        part = Revision.of(OPEN, COMMIT, revision.files[:2], revision.files[2:])
        peer.shares.share(part, "main")
        peer.shares.offered.reverse()
        with peer.archive, peer.serving():
            assert peer.source().find(OPEN, "main").manifest == whole.manifest

    def test_a_ref_that_names_two_commits(self, tmp_path: Path) -> None:
        peer = fill(tmp_path / "home", packed=())
        other = Revision.of(OPEN, GitOid("d" * 40), [])
        peer.shares.share(other, "main")
        with peer.archive, peer.serving(), pytest.raises(RevisionNotFoundError):
            peer.source().describe(OPEN, "main")

    def test_a_link_local_address(self, tmp_path: Path) -> None:
        host = _link_local()
        if host is None:
            pytest.skip("no interface here has a link-local address")
        peer = fill(tmp_path / "home")
        with peer.archive, peer.serving(""):
            source = PeerSource(client(), host, peer.server.port)
            assert source.name == f"peer [{host}]:{peer.server.port}"
            assert source.node().node == NODE
            assert len(source.describe(OPEN, "main").entries) == len(FILES)
            entry = FileEntry("plain.bin", len(PLAIN), sha256=sha(PLAIN))
            assert read(source.open(OPEN, COMMIT, entry, 5, BLOCK)) == PLAIN[5:BLOCK]
        assert {address.partition("%")[0] for address in peer.asked} == set(peer.asked)


def _link_local() -> str | None:
    """An address of this machine with its zone."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return None
    for raw, _, _, scope, _, name in (line.split() for line in lines):
        if scope == "20":
            packed = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(raw))
            return f"{packed}%{name}"
    return None
