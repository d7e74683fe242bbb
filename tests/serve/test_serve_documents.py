"""The JSON of the hub's API, asked for without a client in between; tokens; llama.cpp."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests.clients.contract import DATASET, MODEL, NESTED
from tests.hubsim import HubRepo, HubSim
from tests.serve.conftest import Served
from tests.serve.node import Node, pull
from tests.serve.wire import Reply, once

API = f"/api/models/{MODEL}"
FORM = "application/x-www-form-urlencoded"
FOLDERS = {"deep", "deep/er"}


def post(served: Served, body: bytes, kind: str = FORM, **headers: str) -> Reply:
    return once(served.url, f"{API}/paths-info/main", "POST", body, Content_Type=kind, **headers)


class TestListings:
    def test_info_has_what_clients_read(self, served: Served) -> None:
        head = served.sample.head
        for path in (API, f"{API}/revision/main", f"{API}/revision/{head.sha}"):
            info = served.node.get(f"{path}?blobs=true").json
            assert (info["id"], info["modelId"], info["sha"]) == (MODEL, MODEL, head.sha)
            assert (info["private"], info["gated"], info["tags"]) == (False, False, ["sample"])
            rows = {row["rfilename"]: row for row in info["siblings"]}
            assert rows.keys() == head.files.keys()
            for name, file in head.files.items():
                assert (rows[name]["size"], rows[name]["blobId"]) == (file.size, file.oid)
                told = rows[name].get("lfs", {})
                assert (told.get("sha256"), told.get("size")) == (
                    (file.sha256, file.size) if file.sha256 else (None, None)
                )
        assert [*served.node.get(API).json["siblings"][0]] == ["rfilename"]
        assert served.node.get(f"/api/datasets/{DATASET}").json["sha"] == served.sample.data.sha

    def test_a_tree_is_one_level_or_all(self, served: Served) -> None:
        flat = served.node.get(f"{API}/tree/main").json
        files = {"config.json", "model.safetensors", "empty.txt"}
        assert {row["path"]: row["type"] for row in flat} == {
            **dict.fromkeys(files, "file"),
            "deep": "directory",
        }
        deep = served.node.get(f"{API}/tree/main?recursive=true").json
        assert {row["path"] for row in deep} == files | FOLDERS | {NESTED}
        below = served.node.get(f"{API}/tree/main/deep/er").json
        assert [row["path"] for row in below] == [NESTED]
        for path in ("none", "config.json", "dee"):
            reply = once(served.url, f"{API}/tree/main/{path}")
            assert (reply.status, reply.headers["x-error-code"]) == (404, "EntryNotFound")

    def test_what_an_archive_cannot_know_is_the_same_wherever_it_is_told(
        self, served: Served
    ) -> None:
        """Manifests hold neither history nor git's folder ids: every file's last commit is the
        archived one, without a title; a folder's id is stable, but not git's.
        """
        sha = served.sample.head.sha
        tree = served.node.get(f"{API}/tree/main?recursive=true&expand=true").json
        assert {row["lastCommit"]["id"] for row in tree} == {sha}
        assert {row["lastCommit"]["title"] for row in tree} == {""}
        again = post(served, urlencode({"paths": "deep", "expand": "true"}).encode())
        (folder,) = json.loads(again.body)
        assert folder == next(row for row in tree if row["path"] == "deep")
        assert folder["oid"] != served.sample.head.folders["deep"]
        history = served.node.get(f"{API}/commits/main").json
        assert [one["id"] for one in history] == [sha, served.sample.first.sha]
        assert {one["title"] for one in history} == {""}

    def test_pages_follow_each_other(self, served: Served) -> None:
        seen: list[str] = []
        path = f"{API}/tree/main?recursive=true&limit=2"
        for _ in range(9):
            answer = served.node.get(path)
            assert len(answer.json) <= 2
            seen += [row["path"] for row in answer.json]
            link = answer.headers.get("Link")
            if link is None:
                break
            url = link[link.index("<") + 1 : link.index(">")]
            assert url.startswith(f"{served.url}/"), "clients take it as it is"
            at = urlsplit(url)
            path = f"{at.path}?{at.query}"
        every = served.node.get(f"{API}/tree/main?recursive=true").json
        assert seen == [row["path"] for row in every]

    def test_refs(self, served: Served) -> None:
        first, head = served.sample.first.sha, served.sample.head.sha
        refs = served.node.get(f"{API}/refs").json
        assert refs["branches"] == [
            {"name": "feature/x", "ref": "refs/heads/feature/x", "targetCommit": first},
            {"name": "main", "ref": "refs/heads/main", "targetCommit": head},
        ]
        assert refs["tags"] == [{"name": "v1", "ref": "refs/tags/v1", "targetCommit": first}]
        assert refs["converts"] == []
        assert once(served.url, "/api/models/org/none/refs").headers["x-error-code"] == (
            "RepoNotFound"
        )

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("", True),
            ("?search=mod", True),
            ("?search=MOD", True),
            ("?search=none", False),
            ("?author=org", True),
            ("?author=or", False),
            ("?filter=sample", True),
            ("?filter=sample,none", False),
            ("?limit=0", True),
            ("?limit=x&cursor=y", True),
            ("?cursor=99999999", False),
        ],
    )
    def test_models_are_found(self, served: Served, query: str, found: bool) -> None:
        told = served.node.get(f"/api/models{query}").json
        assert [one["id"] for one in told] == ([MODEL] if found else [])
        assert not told or told[0]["sha"] == served.sample.head.sha

    def test_whoami_and_auth_check(self, served: Served) -> None:
        assert served.node.get("/api/whoami-v2").json["type"] == "user"
        assert served.node.get(f"{API}/auth-check").status == 200
        assert served.node.get("/api/models/org/none/auth-check").status == 401


class TestPathsInfo:
    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"paths=config.json&paths=deep&paths=none", FORM),
            (b"paths=config.json&paths=deep&expand=False", FORM),
            (b"paths=deep&paths=config.json&paths=deep&paths=&expand=", FORM),
            (b'{"paths": ["config.json", "deep", "none"]}', "application/json"),
            (b'{"paths": ["config.json", "deep"], "expand": false}', "application/json"),
        ],
    )
    def test_forms_and_json(self, served: Served, body: bytes, kind: str) -> None:
        rows = {row["path"]: row for row in json.loads(post(served, body, kind).body)}
        assert {path: row["type"] for path, row in rows.items()} == {
            "config.json": "file",
            "deep": "directory",
        }
        assert "lastCommit" not in rows["config.json"]

    def test_one_path_as_text(self, served: Served) -> None:
        reply = post(served, b'{"paths": "config.json", "expand": true}', "application/json")
        assert json.loads(reply.body)[0]["lastCommit"]["id"] == served.sample.head.sha

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"", FORM),
            (b"paths=%ff%fe", FORM),
            (b"paths=..%2F..%2Fetc%2Fpasswd&paths=%2Fetc%2Fpasswd&paths=a%00b", FORM),
            (b"{}", "application/json"),
            (b"[]", "application/json"),
            (b"null", "application/json"),
            (b'{"paths": 5}', "application/json"),
            (b'{"paths": null}', "application/json"),
            (b'{"paths": [null, {}, [], 5]}', "application/json"),
            (b"\xff", "application/json"),
            (b"{", "application/json"),
            (b"[" * 100_000, "application/json"),
            (b'{"a":' * 100_000, "application/json"),
            (b"9" * 5000, "application/json"),
            (b"{}", "application/json; charset=none"),
            (b"paths=a", f"{FORM}; charset=none"),
            (b"x", "multipart/form-data"),
            (b"x", "multipart/form-data; boundary=b"),
            (b"config.json", "text/plain"),
            (b"config.json", "a kind/that; is=none"),
        ],
    )
    def test_bodies_that_say_nothing(self, served: Served, body: bytes, kind: str) -> None:
        reply = post(served, body, kind)
        assert reply.status == 400 or (reply.status, reply.body) == (200, b"[]")

    def test_a_body_that_is_compressed_badly(self, served: Served) -> None:
        reply = post(served, b"\x1f\x8bno", Content_Encoding="gzip")
        assert reply.status in {400, 415}

    def test_a_body_that_is_too_large(self, served: Served) -> None:
        for kind in (FORM, "application/json"):
            reply = post(served, b"a" * (5 << 20), kind)
            assert reply.status == 413
        assert post(served, b"paths=config.json").status == 200

    def test_many_paths(self, served: Served) -> None:
        names = [f"part-{n}/file" for n in range(20_000)]
        reply = post(served, urlencode({"paths": [*names, "config.json"]}, doseq=True).encode())
        assert [row["path"] for row in json.loads(reply.body)] == ["config.json"]


class TestTokens:
    @pytest.fixture(scope="class")
    @classmethod
    def node(cls, served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
        tokens = tmp_path_factory.mktemp("tokens") / "tokens.txt"
        tokens.write_text("# who may read\nfirst\nalice second  # the second\n\n")
        with Node(served.node.home, "--tokens", str(tokens)) as node:
            yield node

    PATHS = (
        *(f"/{MODEL}/resolve/main/config.json", API, f"{API}/tree/main", f"{API}/refs"),
        *("/api/models", "/api/whoami-v2", "/metrics", f"{API}/auth-check"),
    )

    @pytest.mark.parametrize("path", PATHS)
    def test_those_with_a_token_may_read(self, node: Node, path: str) -> None:
        for token in ("Bearer first", "bearer second", "Bearer  second "):
            assert once(node.url, path, Authorization=token).status == 200

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize(
        "token",
        [
            *(None, "", "Bearer", "Bearer ", "first", "Basic first", "Bearer firs", "Bearer alice"),
            *("Bearer First", "Bearer first second", "Bearer \udcff", "Bearer # who may read"),
        ],
    )
    def test_others_may_not(self, node: Node, path: str, token: str | None) -> None:
        more = {} if token is None else {"Authorization": token}
        for method in ("GET", "HEAD"):
            reply = once(node.url, path, method, **more)
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
            assert "x-repo-commit" not in reply.headers
            assert b"{}" not in reply.body

    def test_what_they_may_learn(self, node: Node) -> None:
        """Whether it lives; not what it has: what is missing and what is there look the same."""
        assert once(node.url, "/healthz").status == 200
        missing = once(node.url, "/org/none/resolve/main/x")
        there = once(node.url, f"/{MODEL}/resolve/main/config.json")
        assert (missing.status, missing.body) == (there.status, there.body)

    def test_a_token_has_a_name(self, node: Node) -> None:
        names = {
            token: json.loads(once(node.url, "/api/whoami-v2", Authorization=token).body)["name"]
            for token in ("Bearer first", "Bearer second")
        }
        assert names == {"Bearer first": "user", "Bearer second": "alice"}

    def test_tokens_are_not_logged(self, node: Node) -> None:
        once(node.url, API, Authorization="Bearer first")
        once(node.url, API, Authorization="Bearer wrong-one")
        text = "\n".join(node.lines())
        assert "first" not in text
        assert "wrong-one" not in text


class TestLlamaCpp:
    """The requests of `llama-server -hf org/gguf:Q4_0`, in their order."""

    GGUF = b"GGUF" + bytes(range(256)) * 20_000

    @pytest.fixture(scope="class")
    @classmethod
    def node(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
        root = tmp_path_factory.mktemp("llama")
        files = {"README.md": b"# x\n", "tiny-Q4_0.gguf": cls.GGUF, "tiny-Q8_0.gguf": b"GGUF8"}
        HubRepo(root / "hub", "org/gguf").commit(files)
        with HubSim(root / "hub", mode="thread") as hub:
            pull(root / "home", hub.url, "org/gguf")
        with Node(root / "home") as node:
            yield node

    def test_the_sequence(self, node: Node) -> None:
        def get(path: str) -> Any:
            reply = once(node.url, path, User_Agent="llama-cpp", Accept="application/json")
            assert reply.status == 200
            assert "link" not in reply.headers, "llama.cpp reads the first page only"
            return json.loads(reply.body)

        refs = get("/api/models/org/gguf/refs")
        (commit,) = {one["targetCommit"] for one in refs["branches"] if one["name"] == "main"}
        tree = get(f"/api/models/org/gguf/tree/{commit}?recursive=true")
        (row,) = [row for row in tree if "Q4_0" in row["path"] and row["type"] == "file"]
        assert (row["size"], row["lfs"]["size"]) == (len(self.GGUF), len(self.GGUF))
        path = f"/org/gguf/resolve/{commit}/{row['path']}"
        head = once(node.url, path, "HEAD", User_Agent="llama-cpp")
        assert head.status == 200
        assert head.headers["accept-ranges"] == "bytes"
        assert head.headers["etag"] == f'"{row["lfs"]["oid"]}"'
        assert head.headers["content-length"] == str(row["size"])
        have = once(node.url, path, Range="bytes=0-1999999", User_Agent="llama-cpp").body
        rest = once(node.url, path, Range=f"bytes={len(have)}-", User_Agent="llama-cpp")
        assert (rest.status, have + rest.body) == (206, self.GGUF)


def test_an_empty_archive(tmp_path: Path) -> None:
    with Node(tmp_path / "home") as node:
        assert node.get("/healthz").body == b"ok\n"
        assert node.get("/api/models").json == []
        reply = once(node.url, f"/{MODEL}/resolve/main/config.json")
        assert (reply.status, reply.headers["x-error-code"]) == (401, "RepoNotFound")
