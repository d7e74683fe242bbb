"""The paths that people type: pages for a browser, documents for a program, text of files."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

from outlast.core.errors import RepoNotFoundError
from outlast.server.hub.routes import parse
from tests.clients.contract import DATASET, MODEL, WEIGHTS
from tests.serve.conftest import Served
from tests.serve.node import Node, outlast
from tests.serve.test_serve_wire import HOSTILE as TARGETS
from tests.serve.wire import Reply, Wire, once

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
TYPED = [f"/{MODEL}", f"/{MODEL}/tree/main", f"/{MODEL}/tree/main/deep", f"/datasets/{DATASET}"]


class Page(HTMLParser):
    """The links, the words and the elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.words = ""
        self.elements: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on") or name in {"style", "src"}]
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.words += data


def look(node: Node, path: str, method: str = "GET") -> Reply:
    return once(node.url, path, method, Accept=BROWSER)


def page(node: Node, path: str, status: int = 200) -> Page:
    """A page with all that keeps it harmless."""
    reply = look(node, path)
    assert reply.status == status
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    text = reply.body.decode()
    (style,) = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    digest = re.search("'sha256-(.*?)'", policy)
    assert digest is not None
    assert hashlib.sha256(style.encode()).digest() == base64.b64decode(digest[1])
    found = Page(text)
    assert "script" not in found.elements
    return found


class TestPages:
    def test_the_first_page_names_every_model(self, served: Served) -> None:
        found = page(served.node, "/")
        assert {f"/{MODEL}", f"/datasets/{DATASET}"} <= set(found.links)
        assert f"HF_ENDPOINT={served.url} hf download" in found.words
        assert f"/{MODEL}" not in page(served.node, "/datasets").links
        assert page(served.node, "/?search=nowhere").links == []

    @pytest.mark.parametrize("path", [f"/{MODEL}", f"/{MODEL}/tree/main", f"/{MODEL}/"])
    def test_a_model_has_its_files_with_sizes(self, served: Served, path: str) -> None:
        found = page(served.node, path)
        assert MODEL in found.words
        assert served.sample.head.sha in found.words
        assert "model.safetensors" in found.words
        assert "1.05 MB" in found.words
        assert f"hf download {MODEL}" in found.words
        assert f"outlast pull {MODEL}" in found.words

    def test_every_link_leads_somewhere(self, served: Served) -> None:
        """From the first page to the last file, whatever its name."""
        todo, seen, files = ["/"], set(), set()
        while todo:
            path = todo.pop()
            if path in seen:
                continue
            seen.add(path)
            reply = look(served.node, path)
            assert reply.status == 200, path
            if reply.headers["content-type"].startswith("text/html"):
                todo += Page(reply.body.decode()).links
            else:
                files.add(reply.body)
        assert {WEIGHTS, b"nested\n", b'{"a": 1}\n', b"# data\n"} <= files

    def test_a_revision_is_the_one_that_the_path_names(self, served: Served) -> None:
        found = page(served.node, f"/{MODEL}/tree/v1")
        assert served.sample.first.sha in found.words
        assert "old.txt" in found.words
        assert "--revision v1" in found.words
        assert "--revision feature/x" in page(served.node, f"/{MODEL}/tree/feature%2Fx").words

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/org/none", 401),
            (f"/{MODEL}/tree/none", 404),
            (f"/{MODEL}/tree/main/none", 404),
            ("/org/model.git", 404),
        ],
    )
    def test_what_is_not_there(self, served: Served, path: str, status: int) -> None:
        """A model that is not there answers as one that the client may not read."""
        assert "All models" in page(served.node, path, status).words
        plain = once(served.url, path)
        assert (plain.status, plain.headers["content-type"]) == (status, "application/json")
        html = look(served.node, path).headers
        assert html["x-error-code"] == plain.headers["x-error-code"]

    @pytest.mark.parametrize("path", ["/favicon.ico", "/robots.txt", "/spaces/org/x", "/a/b/c/d"])
    def test_what_never_is(self, served: Served, path: str) -> None:
        assert look(served.node, path).status == 404

    def test_what_browsers_ask_for_by_themselves_is_no_model(self) -> None:
        """So that no upstream is asked for it."""
        for path in ("/favicon.ico", "/robots.txt"):
            with pytest.raises(RepoNotFoundError, match="nothing is served"):
                parse(path)

    @pytest.mark.parametrize("path", ["/", *TYPED, f"/{MODEL}/raw/main/config.json"])
    @pytest.mark.parametrize("accept", [BROWSER, "*/*"])
    def test_head_is_get_without_a_body(self, served: Served, path: str, accept: str) -> None:
        get, head = (once(served.url, path, how, Accept=accept) for how in ("GET", "HEAD"))
        assert (head.status, head.body) == (200, b"")
        same = {"content-type", "content-length", "vary", "x-repo-commit"}
        assert {k: head.headers.get(k) for k in same} == {k: get.headers.get(k) for k in same}


class TestDocuments:
    def test_a_program_gets_what_the_api_says(self, served: Served) -> None:
        for path, same in (
            (f"/{MODEL}", f"/api/models/{MODEL}"),
            (f"/{MODEL}/tree/main", f"/api/models/{MODEL}/tree/main"),
            (f"/{MODEL}/tree/v1", f"/api/models/{MODEL}/tree/v1"),
            (f"/datasets/{DATASET}", f"/api/datasets/{DATASET}"),
        ):
            reply = once(served.url, path, Accept="application/json")
            assert json.loads(reply.body) == served.node.get(same).json
            assert "Accept" in reply.headers["vary"]
        lists = served.node.get("/").json
        assert lists["models"] == f"{served.url}/api/models"
        assert once(served.url, "/api/datasets").body  # where the other leads

    @pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/plain", "nonsense"])
    def test_only_browsers_get_pages(self, served: Served, accept: str) -> None:
        reply = once(served.url, f"/{MODEL}", Accept=accept)
        assert reply.headers["content-type"] == "application/json"

    def test_the_api_has_no_pages(self, served: Served) -> None:
        """Neither for browsers nor for those who look like one."""
        for path in (f"/api/models/{MODEL}", "/api/models/org/none", "/api/none", "/api/models"):
            assert look(served.node, path).headers["content-type"] == "application/json"


class TestRaw:
    def test_what_git_holds_is_text(self, served: Served) -> None:
        reply = once(served.url, f"/{MODEL}/raw/main/config.json")
        assert (reply.status, reply.body) == (200, b'{"a": 1}\n')
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert reply.headers["etag"] == f'"{served.sample.head.files["config.json"].etag}"'
        name = "nested%3F%20file+%2541%5C%C3%A9.txt"
        nested = once(served.url, f"/{MODEL}/raw/main/deep/er/{name}")
        assert nested.body == b"nested\n"
        part = once(served.url, f"/{MODEL}/raw/main/config.json", Range="bytes=1-3")
        assert (part.status, part.body) == (206, b'"a"')

    def test_a_large_file_is_its_pointer(self, served: Served) -> None:
        reply = once(served.url, f"/{MODEL}/raw/main/model.safetensors")
        sha256 = hashlib.sha256(WEIGHTS).hexdigest()
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize 1048576\n"
        assert reply.body.decode() == text
        oid = served.sample.head.files["model.safetensors"].oid
        assert reply.headers["etag"] == f'"{oid}"'

    def test_what_is_not_there(self, served: Served) -> None:
        reply = once(served.url, f"/{MODEL}/raw/main/none")
        assert (reply.status, reply.headers["x-error-code"]) == (404, "EntryNotFound")
        reply = once(served.url, f"/{MODEL}/raw/none/config.json")
        assert (reply.status, reply.headers["x-error-code"]) == (404, "RevisionNotFound")

    def test_a_file_s_page_is_the_file(self, served: Served) -> None:
        reply = once(served.url, f"/{MODEL}/blob/feature%2Fx/old.txt")
        assert reply.status == 307
        where = reply.headers["location"]
        assert where == f"/{MODEL}/resolve/feature%2Fx/old.txt"
        assert once(served.url, where).body == b"old\n"
        assert once(served.url, f"/{MODEL}/blob/main/none").status == 404


HOSTILE = "<script>alert(1)<script>&\"quoted'.txt"
# Names of files may hold none of <>:"|?*, so a hostile one comes with what is left.
FILE = "a&lt;b' onload=x '.txt"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    root = tmp_path_factory.mktemp("hostile")
    folder = root / "folder"
    (folder / "javascript;").mkdir(parents=True)
    (folder / FILE).write_text("<script>alert(1)</script>")
    (folder / "javascript;" / "#frag%3f").write_text("x")
    outlast(root / "home", "add", str(folder), "--as", "me/odd@v1'$(id)", "--quiet")
    for number in range(3):
        outlast(root / "home", "add", str(folder / FILE), "--as", f"me/m{number}", "--quiet")
    with Node(root / "home") as node:
        yield node


class TestHostileNames:
    def test_names_stay_text(self, hostile: Node) -> None:
        found = page(hostile, "/me/odd/tree/v1'$(id)")
        assert FILE in found.words
        assert "--revision 'v1'\"'\"'$(id)'" in found.words
        assert found.elements <= {
            *("html", "head", "meta", "title", "style", "body", "h1", "p", "a", "pre"),
            *("table", "tr", "td"),
        }
        for link in found.links:
            assert link.startswith("/")
            assert not link.startswith("//")
            assert look(hostile, link).status == 200

    def test_an_error_repeats_no_markup(self, hostile: Node) -> None:
        for path in (f"/me/odd/tree/v1'$(id)/{quote(HOSTILE)}", f"/me/{quote(HOSTILE, safe='')}"):
            reply = look(hostile, path)
            assert reply.status == 404
            assert b"<script" not in reply.body
            assert "<script>" in Page(reply.body.decode()).words

    def test_a_file_is_never_a_page(self, hostile: Node) -> None:
        commit = hostile.get("/api/models/me/m0").json["sha"]
        reply = look(hostile, f"/me/m0/raw/{commit}/a&lt;b'%20onload=x%20'.txt")
        assert reply.body == b"<script>alert(1)</script>"
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        assert "sandbox" in reply.headers["content-security-policy"]


@pytest.mark.parametrize("how", ["raw", "blob", "tree"])
def test_hostile_paths_lead_nowhere(served: Served, how: str) -> None:
    for name, target in TARGETS.items():
        if not isinstance(target, str) or name == "too long":
            continue
        for accept in (BROWSER, "*/*"):
            reply = once(served.url, target.replace("/resolve/", f"/{how}/"), Accept=accept)
            assert reply.status in {400, 401, 404, 405, 414}, name
            assert "x-evil" not in reply.headers
            assert b"root:" not in reply.body


@pytest.mark.parametrize(
    "host", ["", "a b", "[::1", "x:999999", "<script>", "a/b", "x\x01y", "a@b", "a" * 5000]
)
def test_no_host_breaks_a_page(served: Served, host: str) -> None:
    for path in ("/", f"/{MODEL}", "/api/models", f"/api/models/{MODEL}/tree/main"):
        with Wire(served.url) as wire:
            wire.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n".encode())
            reply = wire.reply()
        assert reply.status < 500
        assert b"<script" not in reply.body


def test_pages_ask_for_the_token_too(served: Served, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.symlink_to(served.node.home)
    (tmp_path / "tokens").write_text("sesame\n")
    with Node(home, "--tokens", str(tmp_path / "tokens")) as node:
        for path in ("/", *TYPED, f"/{MODEL}/raw/main/config.json", f"/{MODEL}/blob/main/old.txt"):
            assert look(node, path).status == 401, path
            given = once(node.url, path, Accept=BROWSER, Authorization="Bearer sesame")
            assert given.status != 401, path
