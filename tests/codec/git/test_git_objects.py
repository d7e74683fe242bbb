"""Commits, folders and packs, as the program `git` makes them."""

import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from outlast.codec.git import packs
from outlast.codec.git.commits import MAX_COMMIT, CommitText
from outlast.codec.git.packs import read_pack
from outlast.codec.git.proof import (
    Beside,
    HubCommit,
    beside_of,
    blob_of,
    pointer_of,
    prove,
)
from outlast.codec.git.trees import TreeEntry, files_below, read_tree, root_of
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import IntegrityError, MalformedError
from outlast.core.manifest import FileEntry
from tests.campaign import LONG
from tests.gitkit.repository import Repository, needs_git

pytestmark = needs_git
WEIGHTS = b"w" * 1000


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.new(tmp_path / "repository")


def entries_of(files: dict[str, bytes]) -> list[FileEntry]:
    """As a hub lists them: what ends in `.bin` is in LFS."""
    return [
        FileEntry(name, len(data), sha256=Digest.of(data))
        if name.endswith(".bin")
        else FileEntry(name, len(data), git_sha1=GitOid.of_blob(data))
        for name, data in files.items()
    ]


def in_git(files: dict[str, bytes]) -> dict[str, bytes]:
    """As git holds them: with pointers."""
    return {
        name: pointer_of(Digest.of(data), len(data)) if name.endswith(".bin") else data
        for name, data in files.items()
    }


FILES = {
    "README.md": b"# hi\n",
    "model.bin": WEIGHTS,
    "a/b/c.txt": b"deep",
    "a-b": b"sorts between a and a/",
    "a.b": b"likewise",
    "größe/模型.json": b"{}",
}


def proof_of(repository: Repository, name: str, entries: list[FileEntry]) -> HubCommit:
    """What a hub's answer to a question for a commit comes to."""
    objects = read_pack(repository.pack(name))
    text = CommitText.read(repository.raw(name))
    trees = {oid: data for oid, (kind, data) in objects.items() if kind == "tree"}
    return HubCommit(text.data, beside_of(text, trees, entries))


def test_a_commit_follows_from_its_files(repository: Repository) -> None:
    commit = GitOid(repository.commit(in_git(FILES)))
    entries = entries_of(FILES)
    assert prove(commit, entries, HubCommit(repository.raw("HEAD"))) == len(FILES)
    assert proof_of(repository, "HEAD", entries).beside == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e[:-1],
        lambda e: [*e, FileEntry("more", 1, git_sha1=GitOid("1" * 40))],
        lambda e: [FileEntry(e[0].path, 5, git_sha1=GitOid("1" * 40)), *e[1:]],
        lambda e: [e[0], FileEntry(e[1].path, 1001, sha256=e[1].sha256), *e[2:]],
        lambda e: [FileEntry("readme.md", 5, git_sha1=e[0].git_sha1), *e[1:]],
    ],
    ids=["one less", "one more", "other bytes", "other size", "other name"],
)
def test_no_other_files_lead_to_it(
    repository: Repository, change: Callable[[list[FileEntry]], list[FileEntry]]
) -> None:
    commit = GitOid(repository.commit(in_git(FILES)))
    with pytest.raises(IntegrityError, match="other files"):
        prove(commit, change(entries_of(FILES)), HubCommit(repository.raw("HEAD")))


def test_the_text_of_another_commit_is_refused(repository: Repository) -> None:
    first = GitOid(repository.commit(in_git(FILES)))
    repository.commit({}, "Again")
    with pytest.raises(IntegrityError, match="another commit"):
        prove(first, entries_of(FILES), HubCommit(repository.raw("HEAD")))


def test_modes_links_and_submodules_are_written_beside(repository: Repository) -> None:
    files = {"run.py": b"#!", "plain.txt": b"x", "tools/go.sh": b"y"}
    repository.commit(files)
    (repository.folder / "run.py").chmod(0o755)
    (repository.folder / "latest link").symlink_to("plain.txt")
    repository.git("add", "--all")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'7' * 40},sub%20")
    repository.git("commit", "--quiet", "--message=Modes")
    commit, entries = GitOid(repository.id_of("HEAD")), entries_of(files)
    proof = proof_of(repository, "HEAD", entries)
    assert [one.to_line().split(" ")[0] for one in proof.beside] == ["120000", "100755", "160000"]
    assert proof.beside[1] == Beside(b"run.py", "100755")
    assert [Beside.of_line(one.to_line()) for one in proof.beside] == list(proof.beside)
    assert prove(commit, entries, proof) == len(files)
    with pytest.raises(IntegrityError):
        prove(commit, entries, HubCommit(proof.text, proof.beside[1:]))


def test_names_that_are_no_utf8_are_written_beside(repository: Repository) -> None:
    blob = repository.git("hash-object", "-w", "--stdin", given=b"x").decode().strip()
    repository.commit({"a.txt": b"x"})
    row = b"100644 %s\t%s\0" % (blob.encode(), b"caf\xe9%.txt")
    repository.git("update-index", "-z", "--index-info", given=row)
    repository.git("commit", "--quiet", "--message=Latin")
    entries = entries_of({"a.txt": b"x"})
    proof = proof_of(repository, "HEAD", entries)
    assert [one.to_line() for one in proof.beside] == [f"100644 {blob} caf%E9%25.txt"]
    assert Beside.of_line(proof.beside[0].to_line()) == proof.beside[0]
    assert prove(GitOid(repository.id_of("HEAD")), entries, proof) == 1


def test_merges_signatures_and_other_encodings(repository: Repository) -> None:
    repository.commit({"a": b"1"})
    repository.git("checkout", "--quiet", "-b", "side", "HEAD")
    repository.commit({"b": b"2"})
    repository.git("checkout", "--quiet", "main")
    repository.commit({"c": b"3"})
    repository.git("merge", "--quiet", "--no-ff", "--message=Merge", "side")
    files = {"a": b"1", "b": b"2", "c": b"3"}
    text = CommitText.read(repository.raw("HEAD"))
    assert len(text.parents) == 2
    assert prove(GitOid(repository.id_of("HEAD")), entries_of(files), HubCommit(text.data)) == 3
    assert text.author == "Ada Author <ada@example.invalid> 1700000000 +0530"
    signed = text.data.replace(
        b"\n\n", b"\nencoding ISO-8859-1\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n\n", 1
    ).replace(b"Ada Author", b"Ad\xe9 Author")
    commit = repository.git("hash-object", "-w", "-t", "commit", "--stdin", given=signed)
    found = CommitText.read(signed)
    assert found.id.hex == commit.decode().strip()
    assert found.author.startswith("Ad\N{REPLACEMENT CHARACTER} Author")
    assert prove(found.id, entries_of(files), HubCommit(signed)) == 3


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"tree x\n",
        b"tree " + b"1" * 40 + b"\n\nno author",
        b"tree " + b"1" * 40 + b"\nparent 12\nauthor a\ncommitter b\n\n",
        b"tree " + b"1" * 40 + b"\n" + b"parent %b\n" % (b"2" * 40) * 65 + b"author a\n",
        b"tree " + "\u0661".encode() * 40 + b"\nauthor a\ncommitter b\n\n",
        b"x" * (MAX_COMMIT + 1),
        b"\n\ntree " + b"1" * 40,
    ],
)
def test_what_is_no_commit_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedError):
        CommitText.read(text)


@pytest.mark.parametrize("deltas", [True, False])
def test_a_pack_has_what_git_put_in(repository: Repository, *, deltas: bool) -> None:
    for number in range(5):  # folders that differ by little
        repository.commit({f"folder/file {i}": b"%d %d" % (number, i) for i in range(number + 40)})
    data = repository.pack("HEAD", deltas=deltas)
    found = read_pack(data)
    listed = repository.git("rev-list", "--objects", "--filter=blob:none", "HEAD").split(b"\n")
    assert {row[:40].decode() for row in listed if row} == {oid.hex for oid in found}
    for oid, (kind, body) in found.items():
        assert hashlib.sha1(b"%s %d\0" % (kind.encode(), len(body)) + body).hexdigest() == oid.hex


@pytest.mark.parametrize(
    "count",
    [
        2_000,
        pytest.param(
            100_000,
            marks=[
                pytest.mark.torture,
                pytest.mark.skipif(not LONG, reason="only in campaigns: it takes half a minute"),
            ],
        ),
    ],
)
def test_a_folder_of_many_files(repository: Repository, count: int) -> None:
    oid = GitOid.of_blob(b"x")
    repository.git("hash-object", "-w", "--stdin", given=b"x")
    names = [f"file {n:06}" if n % 3 else f"{n % 97}/f{n}" for n in range(count)]
    rows = "".join(f"100644 {oid}\t{name}\n" for name in names)
    repository.git("update-index", "--index-info", given=rows.encode())
    tree = repository.git("write-tree").decode().strip()
    assert root_of((name.encode(), TreeEntry("100644", oid)) for name in names).hex == tree
    text = repository.git("commit-tree", tree, "-m", "Many").decode().strip()
    entries = [FileEntry(name, 1, git_sha1=oid) for name in names]
    assert prove(GitOid(text), entries, HubCommit(repository.raw(text))) == len(names)
    objects = read_pack(repository.pack(text))
    trees = {one: data for one, (kind, data) in objects.items() if kind == "tree"}
    assert beside_of(CommitText.read(repository.raw(text)), trees, entries) == ()


def packed(*objects: bytes, count: int | None = None, version: int = 2) -> bytes:
    """A pack of objects that are encoded already."""
    number = len(objects) if count is None else count
    body = b"PACK" + version.to_bytes(4) + number.to_bytes(4) + b"".join(objects)
    return body + hashlib.sha1(body).digest()


def encoded(kind: int, data: bytes, *, size: int | None = None, before: bytes = b"") -> bytes:
    """One object of a pack; `before` names its base."""
    left = len(data) if size is None else size
    head = bytearray([kind << 4 | left & 15])
    left >>= 4
    while left:
        head[-1] |= 0x80
        head.append(left & 0x7F)
        left >>= 7
    return bytes(head) + before + zlib.compress(data)


BASE = encoded(3, b"hello")
BASE_ID = bytes.fromhex(GitOid.of_blob(b"hello").hex)


def test_differences_by_id_come_in_any_order() -> None:
    deltas = []
    text = b"hello"
    for number in range(100):
        more = text + b"!"
        oid = bytes.fromhex(GitOid.of_blob(text).hex)
        order = bytes([len(text), len(more), 0x90, len(text), 1]) + b"!"
        deltas.append(encoded(7, order, before=oid))
        text = more
        assert number < 120
    found = read_pack(packed(*reversed(deltas), BASE))
    assert found[GitOid.of_blob(text)] == ("blob", text)
    assert len(found) == 101


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a pack"),
        (b"PACK" + bytes(100), "sum"),
        (packed(BASE)[:-1], "sum"),
        (packed(BASE, version=9), "version 9"),
        (packed(BASE, count=1 << 31), "objects"),
        (packed(BASE, count=2), "cut short"),
        (packed(BASE, BASE, count=1), "no object"),
        (packed(encoded(5, b"x")), "kind 5"),
        (packed(encoded(0, b"x")), "kind 0"),
        (packed(b"\xff" * 20), "no number"),
        (packed(encoded(3, b"hello", size=4)), "not the size"),
        (packed(encoded(3, b"hello", size=6)), "not the size"),
        (packed(encoded(3, bytes(1 << 24), size=5)), "not the size"),
        (packed(encoded(3, b"", size=1 << 40)), "more than"),
        (packed(b"\x35not zlib at all"), "damaged"),
        (packed(BASE, encoded(7, b"\5\1\x90\1", before=bytes(20))), "base"),
        (packed(BASE, encoded(6, b"\5\1\x90\1", before=b"\x01")), "base"),
        (packed(BASE, encoded(6, b"\5\1\x90\1", before=b"\xff" * 10 + b"\x7f")), "nowhere"),
        (packed(BASE, encoded(7, b"\4\1\x90\1", before=BASE_ID)), "another size"),
        (packed(BASE, encoded(7, b"\5\6\x90\6", before=BASE_ID)), "not there"),
        (packed(BASE, encoded(7, b"\5\1\x80", before=BASE_ID)), "not there"),
        (packed(BASE, encoded(7, b"\5\1\x90\2", before=BASE_ID)), "more than it says"),
        (packed(BASE, encoded(7, b"\5\3\x90\2", before=BASE_ID)), "less than it says"),
        (packed(BASE, encoded(7, b"\5\1\0", before=BASE_ID)), "does not exist"),
        (packed(BASE, encoded(7, b"\5\5\5hell", before=BASE_ID)), "cut short"),
        (packed(BASE, encoded(7, b"\5\5\x91", before=BASE_ID)), "cut short"),
        (packed(BASE, encoded(7, b"\xff" * 11, before=BASE_ID)), "without a size"),
        (packed(BASE, encoded(7, b"\5" + b"\x80" * 6 + b"\1", before=BASE_ID)), "more than"),
    ],
)
def test_a_hostile_pack_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        read_pack(data)


def test_no_more_is_unpacked_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "MAX_UNPACKED", 1 << 20)
    half = encoded(3, bytes(1 << 19))
    with pytest.raises(MalformedError, match="more than"):
        read_pack(packed(half, half, half))


def test_folders_of_folders_of_folders_are_bounded() -> None:
    trees, oid = {}, GitOid.of_blob(b"")
    mode = b"100644"
    for _ in range(40):
        body = b"".join(b"%s %c\0%s" % (mode, name, bytes.fromhex(oid.hex)) for name in b"ab")
        oid = GitOid(hashlib.sha1(b"tree %d\0" % len(body) + body).hexdigest())
        trees[oid] = body
        mode = b"40000"
    with pytest.raises(MalformedError, match="more than 1000"):
        list(files_below(oid, trees, 1000))


@pytest.mark.parametrize(
    "data", [b"100644 a\0short", b"100644 a", b"\xff a\0" + bytes(20), b"99 a\0" + bytes(20)]
)
def test_a_hostile_folder_is_refused(data: bytes) -> None:
    oid = GitOid("1" * 40)
    with pytest.raises(MalformedError):
        list(files_below(oid, {oid: data}, 10))


@pytest.mark.parametrize("path", [b"", b"a//b", b"/a", b"..", b"a/./b", b"a\0", b"d/" * 300 + b"x"])
def test_paths_that_git_cannot_hold_are_refused(path: bytes) -> None:
    with pytest.raises(MalformedError):
        root_of([(path, TreeEntry("100644", GitOid("1" * 40)))])


def test_a_file_is_no_folder_as_well() -> None:
    entry = TreeEntry("100644", GitOid("1" * 40))
    with pytest.raises(MalformedError, match="twice"):
        root_of([(b"a", entry), (b"a/b", entry)])
    with pytest.raises(MalformedError, match="twice"):
        root_of([(b"a", entry), (b"a", entry)])


@pytest.mark.parametrize(
    "line",
    ["", "100644", "40000 - a", "100644 - caf%e9", "100644 - %41", "1 - a", "100644 12 a"],
)
def test_a_line_has_one_spelling(line: str) -> None:
    with pytest.raises(MalformedError):
        Beside.of_line(line)


def test_an_entry_needs_a_name_that_git_has() -> None:
    assert list(read_tree(b"")) == []
    with pytest.raises(MalformedError):
        blob_of(FileEntry("a", 1))
