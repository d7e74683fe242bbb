"""The stand-in hub speaks the hub's protocol. Its faults have a file of their own."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.hubsim import (
    Commit,
    HubFile,
    HubRepo,
    HubSim,
    add_alias,
    hostile_repo,
    many_files_repo,
)
from tests.hubsim.ask import ask
from tests.hubsim.ranges import parse_range

MODEL = bytes(range(256)) * 400
SHA256 = hashlib.sha256(MODEL).hexdigest()
FILE = "/org/name/resolve/main/sub/model.safetensors"
CONFIG = "/org/name/resolve/main/config.json"


@pytest.fixture
def repo(tmp_path: Path) -> HubRepo:
    made = HubRepo(tmp_path, "org/name")
    made.commit({"config.json": b'{"a": 1}', "old.txt": b"old\n"}, tags=["v1"])
    made.commit({"sub/model.safetensors": MODEL, "sub/deep/x.txt": b"x\n"}, delete=["old.txt"])
    return made


@pytest.fixture
def hub(tmp_path: Path, repo: HubRepo) -> Iterator[HubSim]:
    assert repo.branches
    with HubSim(
        tmp_path, mode="thread", token="good", limited_token="poor", page_limit=3, seed=1
    ) as sim:
        yield sim


def test_ids_are_those_that_git_computes(tmp_path: Path, repo: HubRepo) -> None:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    work = tmp_path / "work"
    (work / "sub/deep").mkdir(parents=True)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{SHA256}\n"
    (work / "sub/model.safetensors").write_text(f"{pointer}size {len(MODEL)}\n")
    (work / "sub/deep/x.txt").write_bytes(b"x\n")
    (work / "config.json").write_bytes(b'{"a": 1}')
    head = repo.head
    who = {"NAME": "Sim Author", "EMAIL": "sim@example.invalid", "DATE": f"{head.seconds} +0000"}
    names = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in who.items()}
    env = os.environ | names | {"GIT_DIR": str(tmp_path / "git"), "GIT_WORK_TREE": str(work)}

    def git(*arguments: str, text: str = "") -> str:
        done = subprocess.run(
            ["git", *arguments], env=env, input=text, text=True, capture_output=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q")
    git("add", "--all")
    assert git("write-tree") == head.folders[""]
    raw = git("commit-tree", head.folders[""], text=head.message)
    first = repo.read(head.parent or "")
    body = git("cat-file", "commit", raw).replace("\nauthor", f"\nparent {first.sha}\nauthor", 1)
    # git adds a final newline to a message given on its input; ours has none
    assert head.sha == git("hash-object", "-t", "commit", "--stdin", text=body.rstrip("\n"))


def test_commits_build_on_each_other(repo: HubRepo) -> None:
    assert sorted(repo.head.files) == ["config.json", "sub/deep/x.txt", "sub/model.safetensors"]
    assert repo.head.files["sub/model.safetensors"].sha256 == SHA256
    assert repo.head.files["config.json"].sha256 is None
    fresh = repo.commit({"only.txt": b"1"}, refs=["dev"], fresh=True)
    assert list(fresh.files) == ["only.txt"]
    assert repo.branches["dev"] == fresh.sha != repo.branches["main"]


def test_a_file_given_by_path_is_referred_to(tmp_path: Path, hub: HubSim) -> None:
    big = tmp_path / "weights"
    big.write_bytes(MODEL)
    other = hub.repo("org/big", kind="dataset")
    other.commit({"w.bin": big, "said.bin": HubFile(big, sha256="0" * 64)})
    assert other.head.files["w.bin"].sha256 == SHA256
    assert ask(hub.url, "/datasets/org/big/resolve/main/w.bin").body == MODEL
    said = ask(hub.url, "/datasets/org/big/resolve/main/said.bin")
    assert said.headers["ETag"] == f'"{"0" * 64}"'


def test_info_tree_and_paths_info_agree(hub: HubSim, repo: HubRepo) -> None:
    info = ask(hub.url, "/api/models/org/name?blobs=true").json
    assert info["sha"] == repo.head.sha
    siblings = {one["rfilename"]: one for one in info["siblings"]}
    assert siblings["sub/model.safetensors"]["lfs"]["sha256"] == SHA256
    first = ask(hub.url, "/api/models/org/name/tree/main?recursive=true")
    link = first.headers["Link"]
    assert link.endswith('>; rel="next"')
    second = ask(link[1 : link.index(">")])
    assert second.headers["Link"] is None
    rows = [*first.json, *second.json]
    assert [row["path"] for row in rows] == [
        "sub",
        "sub/deep",
        "sub/deep/x.txt",
        "sub/model.safetensors",
        "config.json",
    ]
    form = "paths=sub%2Fmodel.safetensors&paths=none&paths=sub&expand=true"
    found = ask(
        hub.url,
        "/api/models/org/name/paths-info/main",
        "POST",
        form,
        Content_Type="application/x-www-form-urlencoded",
    ).json
    assert [row["path"] for row in found] == ["sub/model.safetensors", "sub"]
    assert found[0]["lfs"] == rows[3]["lfs"]
    assert found[0]["lastCommit"]["id"] == repo.head.sha


def test_a_folder_lists_only_what_is_in_it(hub: HubSim) -> None:
    rows = ask(hub.url, "/api/models/org/name/tree/main/sub").json
    assert [row["path"] for row in rows] == ["sub/deep", "sub/model.safetensors"]
    assert [row["path"] for row in ask(hub.url, "/api/models/org/name/tree/main").json] == [
        "sub",
        "config.json",
    ]
    missing = ask(hub.url, "/api/models/org/name/tree/main/nowhere")
    assert (missing.status, missing.headers["X-Error-Code"]) == (404, "EntryNotFound")


def test_every_name_of_a_revision_is_understood(hub: HubSim, repo: HubRepo) -> None:
    first = repo.head.parent or ""
    repo.set_ref("feature/x", first)
    names = ["v1", "refs%2Ftags%2Fv1", first, first[:7], "feature%2Fx", "feature/x"]
    for name in [*names, "refs%2Fheads%2Ffeature%2Fx"]:
        assert ask(hub.url, f"/org/name/resolve/{name}/old.txt").body == b"old\n", name
        info = ask(hub.url, f"/api/models/org/name/revision/{name}")
        assert info.json["sha"] == first, name
    refs = ask(hub.url, "/api/models/org/name/refs").json
    assert {one["ref"] for one in refs["branches"]} == {"refs/heads/main", "refs/heads/feature/x"}
    assert refs["tags"][0]["targetCommit"] == first
    commits = ask(hub.url, "/api/models/org/name/commits/main?limit=1")
    assert [one["id"] for one in commits.json] == [repo.head.sha]
    assert commits.headers["X-Total-Count"] == "2"
    assert "p=1" in commits.headers["Link"]


def test_resolve_headers(hub: HubSim, repo: HubRepo) -> None:
    for method in ("HEAD", "GET"):
        answer = ask(hub.url, FILE, method)
        assert answer.status == 200
        assert answer.headers["ETag"] == f'"{SHA256}"' == answer.headers["X-Linked-Etag"]
        assert answer.headers["Content-Length"] == str(len(MODEL))
        assert answer.headers["X-Repo-Commit"] == repo.head.sha
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.body == (MODEL if method == "GET" else b"")
    config = ask(hub.url, CONFIG)
    assert config.headers["ETag"] == f'"{repo.head.files["config.json"].oid}"'


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-", (0, 10)),
        ("bytes=3-4", (3, 2)),
        ("bytes=3-99", (3, 7)),
        ("bytes=-4", (6, 4)),
        ("bytes=-99", (0, 10)),
        ("bytes=10-", (10, 0)),
        ("bytes=-0", (10, 0)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
    ],
)
def test_ranges(header: str | None, wanted: tuple[int, int] | None) -> None:
    assert parse_range(header, 10) == wanted


def test_range_answers(hub: HubSim) -> None:
    part = ask(hub.url, FILE, Range="bytes=100-199")
    assert (part.status, part.body) == (206, MODEL[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(MODEL)}"
    past = ask(hub.url, FILE, Range=f"bytes={len(MODEL)}-")
    assert (past.status, past.headers["Content-Range"]) == (416, f"bytes */{len(MODEL)}")
    fresh = ask(hub.url, FILE, Range="bytes=1-", If_Range=f'"{SHA256}"')
    assert fresh.status == 206
    assert ask(hub.url, FILE, Range="bytes=1-", If_Range='"other"').body == MODEL
    assert ask(hub.url, FILE, If_None_Match=f'"{SHA256}"').status == 304


def test_the_cdn_takes_signed_urls_while_they_live(tmp_path: Path, repo: HubRepo) -> None:
    with HubSim(tmp_path, mode="thread", cdn=True, token="good") as hub:
        there = ask(hub.url, FILE, "HEAD", Authorization="Bearer good")
        assert there.status == 302
        assert there.headers["X-Linked-Size"] == str(len(MODEL))
        assert there.headers["X-Linked-Etag"] == f'"{SHA256}"'
        assert there.headers["X-Repo-Commit"] == repo.head.sha
        url = there.headers["Location"]
        assert urlsplit(url).netloc == urlsplit(hub.cdn_url).netloc != urlsplit(hub.url).netloc
        part = ask(url, Range="bytes=5-9", Authorization="Bearer good")
        assert (part.status, part.body) == (206, MODEL[5:10])
        assert SHA256 not in part.headers["ETag"]
        assert ask(url.replace("Signature=", "Signature=0")).status == 403
        hub.advance_clock(3601)
        assert ask(url).status == 403
        assert ask(hub.url, CONFIG).status == 200
        cdn = hub.requests(listener="cdn")
        assert [one.has_auth for one in cdn] == [True, False, False]
        assert {one.file for one in cdn} == {"sub/model.safetensors"}


def test_git_files_may_come_by_a_relative_redirect(tmp_path: Path, repo: HubRepo) -> None:
    with HubSim(tmp_path, mode="thread", resolve_cache=True) as hub:
        moved = ask(hub.url, CONFIG)
        assert moved.status == 307
        assert moved.headers["Location"].startswith("/api/resolve-cache/models/org/name/")
        assert moved.headers["X-Linked-Etag"] == f'"{repo.head.files["config.json"].oid}"'
        assert ask(hub.url, moved.headers["Location"]).body == b'{"a": 1}'
        assert ask(hub.url, FILE).status == 200


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        ("/org/name/resolve/main/none.txt", None, 404, "EntryNotFound"),
        ("/org/name/resolve/none/config.json", None, 404, "RevisionNotFound"),
        ("/api/models/org/name/revision/none", None, 404, "RevisionNotFound"),
        ("/api/models/org/none", None, 401, None),
        ("/api/models/org/none", "good", 404, "RepoNotFound"),
        ("/api/datasets/org/name", "good", 404, "RepoNotFound"),
        ("/org/private/resolve/main/f", None, 401, None),
        ("/org/private/resolve/main/f", "poor", 404, "RepoNotFound"),
        ("/org/private/resolve/main/f", "good", 200, None),
        ("/org/gated/resolve/main/f", None, 401, "GatedRepo"),
        ("/org/gated/resolve/main/f", "poor", 403, "GatedRepo"),
        ("/org/gated/resolve/main/f", "good", 200, None),
        ("/api/models/org/gated", None, 200, None),
        ("/api/models/org/gated/auth-check", "poor", 403, "GatedRepo"),
        ("/api/models/org/gated/auth-check", "good", 200, None),
        ("/api/models/org/name", "wrong", 401, None),
        ("/api/whoami-v2", None, 401, None),
        ("/api/whoami-v2", "good", 200, None),
        ("/nothing", None, 404, None),
    ],
)
def test_who_may_see_what(
    hub: HubSim, path: str, token: str | None, status: int, code: str | None
) -> None:
    hub.repo("org/private", private=True).commit({"f": b"1"})
    hub.repo("org/gated", gated="manual").commit({"f": b"1"})
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = ask(hub.url, path, **headers)
    assert (answer.status, answer.headers["X-Error-Code"]) == (status, code)
    if status >= 400:
        assert answer.json["error"] == answer.headers["X-Error-Message"]


def test_lists_and_renames(tmp_path: Path, hub: HubSim) -> None:
    for name in ("org/b", "other/c"):
        hub.repo(name, tags=["gguf"]).commit({"f": b"1"})
    hub.repo("org/hidden", private=True).commit({"f": b"1"})

    def ids(query: str) -> list[str]:
        return [one["id"] for one in ask(hub.url, f"/api/models?{query}").json]

    assert ids("") == ["org/b", "org/name", "other/c"]
    assert ids("author=org&search=NA") == ["org/name"]
    assert ids("filter=gguf&sort=id&direction=-1") == ["other/c", "org/b"]
    page = ask(hub.url, "/api/models?limit=2")
    link = page.headers["Link"]
    assert [one["id"] for one in ask(link[1 : link.index(">")]).json] == ["other/c"]
    add_alias(tmp_path, "old/name", "org/name")
    moved = ask(hub.url, "/old/name/resolve/main/config.json")
    assert (moved.status, moved.headers["Location"]) == (307, CONFIG)
    hub.repo("org/b").delete()
    assert ids("") == ["org/name", "other/c"]


def test_the_log_tells_what_happened(hub: HubSim, repo: HubRepo) -> None:
    ask(hub.url, FILE, Range="bytes=0-9", Authorization="Bearer good", User_Agent="me/1")
    (entry,) = hub.requests()
    assert (entry.method, entry.path, entry.range) == ("GET", FILE, "bytes=0-9")
    assert (entry.status, entry.sent, entry.fault) == (206, 10, None)
    assert (entry.repo, entry.file) == ("org/name", "sub/model.safetensors")
    assert (entry.commit, entry.listener) == (repo.head.sha, "hub")
    assert (entry.has_auth, entry.user_agent) == (True, "me/1")
    hub.clear_log()
    assert hub.requests() == []


def test_many_files_are_paged(tmp_path: Path) -> None:
    many: Commit = many_files_repo(tmp_path, files=2500)
    seen: list[str] = []
    with HubSim(tmp_path, mode="thread") as hub:
        url = f"{hub.url}/api/models/org/many/tree/main?recursive=true"
        while url:
            page = ask(url)
            seen += [row["path"] for row in page.json if row["type"] == "file"]
            link = page.headers["Link"] or "<>"
            url = link[1 : link.index(">")]
    assert seen == sorted(many.files)


def test_hostile_names_reach_the_client_as_they_are(tmp_path: Path) -> None:
    bad = hostile_repo(tmp_path)
    with HubSim(tmp_path, mode="thread") as hub:
        rows = ask(hub.url, "/api/models/org/hostile/tree/main?recursive=1").json
        assert {row["path"] for row in rows if row["type"] == "file"} == set(bad.files)
        for path in ("../escape.txt", "nul\0byte.txt", "a\\b.txt"):
            answer = ask(hub.url, f"/org/hostile/resolve/main/{quote(path)}")
            assert answer.body == b"hostile\n", path
        sizes = [row["size"] for row in rows if row["path"].startswith("size-")]
        assert sizes[:2] == [-1, 2**63]


def test_a_process_comes_back_on_its_port_after_a_kill(tmp_path: Path, repo: HubRepo) -> None:
    with HubSim(tmp_path, token="good") as hub:
        url = hub.url
        assert ask(url, FILE).body == MODEL
        hub.kill()
        with pytest.raises(ConnectionRefusedError):
            ask(url, FILE)
        hub.start()
        assert hub.url == url
        assert ask(url, CONFIG).headers["X-Repo-Commit"] == repo.head.sha
