"""Files over HTTP: headers, ranges, names of revisions, and what a partial archive says."""

import os
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.clients.contract import DATASET, MODEL, NESTED, WEIGHTS, Sample, build_sample
from tests.hubsim import HubSim
from tests.serve.conftest import Served
from tests.serve.forms import flip
from tests.serve.node import Node, outlast
from tests.serve.wire import Reply, Wire, once

LFS = f"/{MODEL}/resolve/main/model.safetensors"
SIZE = len(WEIGHTS)
CONTENTS = {
    "model.safetensors": WEIGHTS,
    "config.json": b'{"a": 1}\n',
    "empty.txt": b"",
    NESTED: b"nested\n",
}


@pytest.fixture(params=["plain", "capsule"], name="served")
def _served(request: pytest.FixtureRequest) -> Served:
    """The client sees the same for each form of the blobs."""
    name = {"plain": "served_plain", "capsule": "served_packed"}[request.param]
    served: Served = request.getfixturevalue(name)
    return served


def target(path: str, revision: str = "main") -> str:
    return f"/{MODEL}/resolve/{quote(revision, safe='')}/{quote(path)}"


def etag(served: Served) -> str:
    return f'"{served.sample.head.files["model.safetensors"].etag}"'


class TestWholeFiles:
    @pytest.mark.parametrize("path", CONTENTS)
    def test_get_and_head_say_the_same(self, served: Served, path: str) -> None:
        get = once(served.url, target(path), Accept_Encoding="gzip, br, zstd")
        head = once(served.url, target(path), "HEAD", Accept_Encoding="gzip, br, zstd")
        assert (get.status, get.body, head.status, head.body) == (200, CONTENTS[path], 200, b"")
        for name in get.headers.keys() | head.headers.keys():
            assert name == "date" or get.headers[name] == head.headers[name], name
        assert get.headers["content-length"] == str(len(CONTENTS[path]))
        assert get.headers["etag"] == f'"{served.sample.head.files[path].etag}"'
        assert get.headers["x-repo-commit"] == served.sample.head.sha
        assert get.headers["accept-ranges"] == "bytes"
        assert "content-encoding" not in get.headers
        assert "transfer-encoding" not in get.headers
        assert "location" not in get.headers

    def test_a_dataset_has_a_path_of_its_own(self, served: Served) -> None:
        path = f"{DATASET}/resolve/main/train/part-0.parquet"
        assert once(served.url, f"/datasets/{path}").body == WEIGHTS[:1000]
        assert once(served.url, f"/{path}").headers["x-error-code"] == "RepoNotFound"

    @pytest.mark.parametrize(
        "name",
        ["v1", "feature/x", "commit", "short", "refs/tags/v1", "refs/heads/feature/x"],
    )
    def test_revisions(self, served: Served, name: str) -> None:
        first = served.sample.first.sha
        revision = {"commit": first, "short": first[:7]}.get(name, name)
        reply = once(served.url, target("old.txt", revision))
        assert (reply.status, reply.body) == (200, b"old\n")
        assert reply.headers["x-repo-commit"] == first

    @pytest.mark.parametrize(
        ("path", "code", "commit"),
        [
            (target("none.txt"), "EntryNotFound", True),
            (target("deep"), "EntryNotFound", True),
            (target("old.txt"), "EntryNotFound", True),
            (target("config.json", "none"), "RevisionNotFound", False),
            (target("config.json", "0" * 40), "RevisionNotFound", False),
            (target("config.json", "-x"), "RevisionNotFound", False),
            ("/org/none/resolve/main/config.json", "RepoNotFound", False),
            ("/Org/Models/resolve/main/config.json", "RepoNotFound", False),
            ("/none/resolve/main/config.json", "RepoNotFound", False),
            ("/spaces/org/model/resolve/main/config.json", "RepoNotFound", False),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_what_is_missing(
        self, served: Served, path: str, code: str, commit: bool, method: str
    ) -> None:
        reply = once(served.url, path, method)
        hidden = code == "RepoNotFound" and not path.startswith("/spaces/")
        assert reply.status == (401 if hidden else 404)  # without a token it may be private
        assert reply.headers["x-error-code"] == code
        assert reply.headers["x-error-message"]
        assert reply.headers.get("x-repo-commit") == (served.sample.head.sha if commit else None)
        assert "etag" not in reply.headers


def ranged(served: Served, header: str, **more: str) -> Reply:
    return once(served.url, LFS, Range=header, **more)


class TestRanges:
    @pytest.mark.parametrize(
        ("header", "start", "stop"),
        [
            ("bytes=0-0", 0, 1),
            ("bytes=5-9", 5, 10),
            ("bytes=0-", 0, SIZE),
            (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
            ("bytes=999-", 999, SIZE),
            ("bytes=-1", SIZE - 1, SIZE),
            ("bytes=-777", SIZE - 777, SIZE),
            (f"bytes=-{SIZE * 9}", 0, SIZE),
            (f"bytes=5-{SIZE * 9}", 5, SIZE),
            (f"bytes=0-{SIZE - 1}", 0, SIZE),
        ],
    )
    def test_one_range(self, served: Served, header: str, start: int, stop: int) -> None:
        reply = ranged(served, header)
        assert (reply.status, reply.body) == (206, WEIGHTS[start:stop])
        assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
        assert reply.headers["content-length"] == str(stop - start)
        assert reply.headers["etag"] == etag(served)

    @pytest.mark.parametrize("header", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 9}", "bytes=-0"])
    def test_outside_of_the_file(self, served: Served, header: str) -> None:
        reply = ranged(served, header)
        assert reply.status == 416
        assert reply.headers["content-range"] == f"bytes */{SIZE}"

    def test_nothing_of_an_empty_file_can_be_asked_for(self, served: Served) -> None:
        reply = once(served.url, target("empty.txt"), Range="bytes=0-0")
        assert (reply.status, reply.headers["content-range"]) == (416, "bytes */0")

    @pytest.mark.parametrize(
        "header",
        [
            *("bytes=0-1,5-6", "bytes=5-2", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "5-9"),
            *("items=0-1", "bytes=--5", "bytes=0x1-0x2", "bytes=1-2-3", "bytes=+1-2"),
            f"bytes=0-{'9' * 5000}",
        ],
    )
    def test_what_is_no_single_range_gets_the_whole(self, served: Served, header: str) -> None:
        reply = ranged(served, header)
        assert (reply.status, reply.body) == (200, WEIGHTS)
        assert "content-range" not in reply.headers

    def test_if_range(self, served: Served) -> None:
        assert ranged(served, "bytes=3-5", If_Range=etag(served)).body == WEIGHTS[3:6]
        for other in ('"other"', f"W/{etag(served)}", "Wed, 21 Oct 2026 07:28:00 GMT", ""):
            assert ranged(served, "bytes=3-5", If_Range=other).status == 200, other

    def test_head_answers_for_the_whole(self, served: Served) -> None:
        reply = once(served.url, LFS, "HEAD", Range="bytes=3-5")
        assert (reply.status, reply.headers["content-length"]) == (200, str(SIZE))

    def test_the_probe_of_hf_hub_for_rust(self, served: Served) -> None:
        """Version 0.4 reads size, commit and ETag from a range of one byte."""
        reply = once(served.url, LFS, Range="bytes=0-0", User_Agent="unkown/None; hf-hub/0.4.3")
        assert reply.status == 206
        assert reply.headers["content-range"].rpartition("/")[2] == str(SIZE)
        assert reply.headers["x-repo-commit"] == served.sample.head.sha
        assert reply.headers["etag"].strip('"')


ROUTES = [f"/{MODEL}/{how}/main/{path}" for how in ("resolve", "raw") for path in CONTENTS]


class TestIfNoneMatch:
    @pytest.mark.parametrize("path", [quote(route) for route in ROUTES])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_what_the_client_has_is_not_sent(self, served: Served, method: str, path: str) -> None:
        whole = once(served.url, path, method)
        tag = whole.headers["etag"]
        for given in (tag, f"W/{tag}", "*", f'"a,b" , W/"c",{tag}', f'"other", {tag}'):
            reply = once(served.url, path, method, If_None_Match=given)
            assert (reply.status, reply.body) == (304, b""), given
            for name in ("etag", "x-repo-commit", "cache-control"):
                assert reply.headers.get(name) == whole.headers.get(name)
            assert "content-type" not in reply.headers
            assert reply.headers.get("content-length") in {None, whole.headers["content-length"]}
        bare = tag.strip('"')
        for other in ('"other"', "", bare, f'"{bare[1:]}"', f'"x{bare}"', f'"{bare}', "W/*", '"*"'):
            reply = once(served.url, path, method, If_None_Match=other)
            assert (reply.status, reply.body) == (200, whole.body), other

    def test_it_goes_before_a_range(self, served: Served) -> None:
        for header in ("bytes=0-1", f"bytes={SIZE}-"):
            reply = ranged(served, header, If_None_Match=etag(served))
            assert (reply.status, reply.body) == (304, b"")
            assert "content-range" not in reply.headers
        assert ranged(served, "bytes=3-5", If_None_Match='"other"').body == WEIGHTS[3:6]

    def test_the_connection_goes_on(self, served: Served) -> None:
        with Wire(served.url) as wire:
            for _ in range(2):
                wire.ask(LFS, If_None_Match=etag(served))
                assert wire.head().status == 304
            wire.ask(target("config.json"))
            assert wire.head().status == 200
            assert wire.read(99) == CONTENTS["config.json"]

    def test_what_is_missing_has_no_tag(self, served: Served) -> None:
        assert once(served.url, target("none.txt"), If_None_Match="*").status == 404


class TestIncompleteArchives:
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls, tmp_path_factory: pytest.TempPathFactory) -> Sample:
        return build_sample(tmp_path_factory.mktemp("incomplete"))

    @pytest.fixture
    def home(self, sample: Sample, tmp_path: Path) -> Path:
        home = tmp_path / "home"
        with HubSim(sample.root, mode="thread") as hub:
            few = ["--include", "*.json", "--include", "*.safetensors"]
            outlast(home, "pull", MODEL, "--from", hub.url, *few)
        return home

    def test_a_partial_archive_says_so_everywhere(self, home: Path) -> None:
        with Node(home) as node:
            for path in (
                *(target("config.json"), f"/api/models/{MODEL}", f"/api/models/{MODEL}/tree/main"),
                f"/api/models/{MODEL}/revision/main",
            ):
                for method in ("GET", "HEAD"):
                    reply = once(node.url, path, method)
                    assert reply.headers["x-outlast-partial"] == "1", (method, path)
            info = node.get(f"/api/models/{MODEL}").json
            assert info["partial"] is True
            names = {"config.json", "model.safetensors", "empty.txt"}  # empty: here at once
            assert {one["rfilename"] for one in info["siblings"]} == names
            tree = node.get(f"/api/models/{MODEL}/tree/main?recursive=true").json
            assert {row["path"] for row in tree} == names
            missing = once(node.url, target(NESTED))
            assert (missing.status, missing.headers["x-error-code"]) == (404, "EntryNotFound")
            assert "not archived" in missing.headers["x-error-message"]

    def test_a_complete_archive_does_not(self, served: Served) -> None:
        for path in (target("config.json"), f"/api/models/{MODEL}"):
            assert "x-outlast-partial" not in once(served.url, path).headers
        assert served.node.get(f"/api/models/{MODEL}").json["partial"] is False

    def test_a_blob_that_was_edited_by_another_name_is_not_served(
        self, home: Path, sample: Sample
    ) -> None:
        digest = sample.head.files["model.safetensors"].sha256 or ""
        blob, other = home / "blobs" / digest[:2] / digest, home.parent / "other"
        os.link(blob, other)
        other.chmod(0o644)
        with Node(home) as node:
            assert once(node.url, LFS).body == WEIGHTS
            flip(other, SIZE - 1)
            for _ in range(2):
                reply = once(node.url, LFS, Range=f"bytes={SIZE - 9}-")
                assert (reply.status, "another name" in reply.headers["x-error-message"]) == (
                    503,
                    True,
                )
                assert reply.headers["x-error-code"] == "DamagedFile"
                assert WEIGHTS[:10] not in reply.body
            said = {line["sha256"] for line in node.access() if line["what"] == "damage"}
            assert said == {digest}
            assert "outlast_damaged_blobs 1.0" in once(node.url, "/metrics").body.decode()
            flip(other, SIZE - 1)
            assert once(node.url, LFS).status == 503  # until all of it was read
            outlast(home, "verify")
            assert once(node.url, LFS).body == WEIGHTS

    @pytest.mark.parametrize("damage", ["gone", "short"])
    def test_a_blob_that_is_damaged_is_not_served(
        self, home: Path, sample: Sample, damage: str
    ) -> None:
        digest = sample.head.files["model.safetensors"].sha256 or ""
        blob = home / "blobs" / digest[:2] / digest
        with Node(home) as node:
            assert once(node.url, LFS).body == WEIGHTS
            blob.unlink()
            if damage == "short":
                blob.write_bytes(WEIGHTS[:-1])
            reply = once(node.url, LFS)
            assert (reply.status, reply.headers["x-error-code"]) == (404, "EntryNotFound")
            blob.write_bytes(WEIGHTS)
            assert once(node.url, LFS).body == WEIGHTS
