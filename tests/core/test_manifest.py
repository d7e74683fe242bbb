"""Manifests: one meaning, one sequence of bytes; whatever else is refused."""

import json
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec.hashing import names_of
from outlast.core.digest import Digest, GitOid, Names
from outlast.core.errors import BadNameError, MalformedError, OutlastError
from outlast.core.manifest import (
    MAX_FILE_SIZE,
    FileEntry,
    Revision,
    load_json,
)
from outlast.core.names import RepoId, RepoKind
from tests.store.build import check_error

GOLDEN = Path(__file__).parents[1] / "golden"
SHA = "ab" * 32
GIT = "cd" * 20

digests = st.binary(min_size=32, max_size=32).map(Digest.from_bytes)
oids = st.binary(min_size=20, max_size=20).map(lambda raw: GitOid(raw.hex()))
words = st.text(
    string.ascii_letters + string.digits + "éß日\U0001f600 -_?\\:%", min_size=1, max_size=8
)
folders = words.map(lambda text: "d" + text.strip() + ".d/")
paths = st.builds(
    lambda above, name: "".join(above) + "f" + name.strip() + ".x",
    st.lists(folders, max_size=2),
    words,
)
sizes = st.integers(0, MAX_FILE_SIZE)


@st.composite
def revisions(draw: st.DrawFn) -> Revision:
    names = draw(st.lists(paths, unique=True, max_size=6))
    split = draw(st.integers(0, len(names)))
    here = [
        FileEntry(p, draw(sizes), draw(digests), draw(st.none() | oids), draw(st.none() | digests))
        for p in names[:split]
    ]
    missing = [
        FileEntry(p, draw(sizes), draw(digests), None)
        if draw(st.booleans())
        else FileEntry(p, draw(sizes), None, draw(oids))
        for p in names[split:]
    ]
    repo = RepoId(draw(st.sampled_from(RepoKind)), draw(st.sampled_from(["a/b", "C.d/e-F", "x"])))
    commit = draw(st.none() | oids)
    return Revision.of(repo, commit, here, missing, unlisted=draw(st.booleans()))


@given(revisions())
def test_round_trip(revision: Revision) -> None:
    data = revision.to_bytes()
    again = Revision.from_bytes(data)
    assert again == revision
    assert again.to_bytes() == data
    assert again.digest == Digest.of(data)
    assert rfc8785.dumps(json.loads(data)) == data
    assert revision.partial == (revision.unlisted or bool(revision.missing))
    assert revision.size == sum(entry.size for entry in revision.files)
    assert revision.id == (revision.commit or GitOid(revision.digest.hex[:40]))


@given(revisions(), st.randoms())
def test_the_order_of_the_files_does_not_matter(revision: Revision, random: Any) -> None:
    """Everyone who archives the same commit writes the same bytes."""
    files, missing = list(revision.files), list(revision.missing)
    random.shuffle(files)
    random.shuffle(missing)
    other = Revision.of(revision.repo, revision.commit, files, missing, unlisted=revision.unlisted)
    assert other.to_bytes() == revision.to_bytes()


@given(revisions(), st.data())
def test_no_other_bytes_mean_the_same(revision: Revision, data: st.DataObject) -> None:
    """One flipped byte is refused, or is another revision; never the same one again."""
    raw = bytearray(revision.to_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        other = Revision.from_bytes(bytes(raw))
    except OutlastError:
        return
    assert other != revision
    assert other.digest != revision.digest


def golden_revision() -> Revision:
    def entry(path: str, data: bytes, *, git: bool) -> FileEntry:
        names = names_of(data)
        declared = names.git_sha1 if git else None
        return FileEntry(path, names.size, names.sha256, declared, names.merkle_root)

    return Revision.of(
        RepoId(RepoKind.MODEL, "org/name"),
        GitOid("0123456789abcdef0123456789abcdef01234567"),
        [
            entry("model.safetensors", b"tensor" * 200_000, git=False),
            entry("config.json", b'{"a": 1}', git=True),
            entry("sub/é\U0001f600.txt", b"x", git=True),
            entry("empty", b"", git=True),
        ],
        [
            FileEntry("absent.bin", 1 << 40, Digest(SHA)),
            FileEntry("absent.txt", 7, None, GitOid(GIT)),
        ],
    )


WIDE_PATHS = [
    "a/C1_or_C2?_premise/x.json",
    "aux.json",
    "b\\c.txt",
    "A.txt",
    "a.txt",
    "trailing. ",
    'all <of>:"them"|*',
]


def wide_revision() -> Revision:
    """One with names that not every file system takes."""
    plain = golden_revision()
    wide = [replace(plain.files[0], path=path) for path in WIDE_PATHS]
    absent = FileEntry("absent?.bin", 1 << 40, Digest(SHA))
    return Revision.of(plain.repo, plain.commit, (*plain.files, *wide), (*plain.missing, absent))


@pytest.mark.parametrize(
    "name", ["manifest-v1.json", "manifest-v1-folder.json", "manifest-v2.json"]
)
def test_golden_manifest(name: str) -> None:
    """These bytes never change: archives everywhere hold manifests that read like them."""
    golden = (GOLDEN / name).read_bytes()
    revision = wide_revision() if "v2" in name else golden_revision()
    if "folder" in name:
        revision = Revision.of(revision.repo, None, revision.files, unlisted=True)
    assert revision.to_bytes() == golden
    assert Revision.from_bytes(golden) == revision
    names = GOLDEN / f"{name[:11]}-names.json"
    assert revision.digest.hex == json.loads(names.read_text())[name]


@pytest.mark.parametrize("path", WIDE_PATHS)
def test_one_name_that_is_not_portable_makes_version_2(path: str) -> None:
    """The same keys, so that nothing but the rule for paths differs."""
    plain = golden_revision()
    entry = replace(plain.files[0], path=path)
    twin = replace(plain.files[0], path="a.TXT")
    wide = Revision.of(plain.repo, plain.commit, (*plain.files, twin, entry))
    assert json.loads(wide.to_bytes())["type"] == "outlast-manifest-v2"
    assert Revision.from_bytes(wide.to_bytes()) == wide
    absent = Revision.of(plain.repo, plain.commit, plain.files, [twin, entry])
    assert Revision.from_bytes(absent.to_bytes()) == absent
    assert json.loads(absent.to_bytes())["type"] == "outlast-manifest-v2"


def test_there_is_one_version_for_each_set_of_names() -> None:
    """Else two manifests would mean the same."""
    plain, wide = golden_revision().to_bytes(), wide_revision().to_bytes()
    assert_refused(plain.replace(b"manifest-v1", b"manifest-v2"))
    assert_refused(wide.replace(b"manifest-v2", b"manifest-v1"))


def test_a_newer_version_is_told_as_such() -> None:
    with pytest.raises(MalformedError, match="a newer outlast") as caught:
        Revision.from_bytes(dump(document(type="outlast-manifest-v3")))
    assert caught.value.hint == "update outlast"


# What is refused


def document(**changes: Any) -> dict[str, Any]:
    entry = {"path": "a.bin", "size": 3, "sha256": SHA}
    base: dict[str, Any] = {
        "type": "outlast-manifest-v1",
        "kind": "model",
        "name": "org/name",
        "commit": GIT,
        "files": [entry],
    }
    base.update(changes)
    return {key: value for key, value in base.items() if value != "absent"}


def with_entry(**changes: Any) -> dict[str, Any]:
    entry = {"path": "a.bin", "size": 3, "sha256": SHA, **changes}
    return document(files=[{key: value for key, value in entry.items() if value != "absent"}])


def dump(value: Any) -> bytes:
    """Canonical but for what RFC 8785 cannot say."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def test_the_base_document_is_accepted() -> None:
    assert Revision.from_bytes(dump(document())).files[0].path == "a.bin"
    assert Revision.from_bytes(dump(document(commit=None))).commit is None


ENTRY = {"path": "b.bin", "size": 3, "sha256": SHA}

BAD_DOCUMENTS: dict[str, Any] = {
    "unknown key": document(extra=1),
    "unknown key in an entry": with_entry(mode=420),
    "no type": document(type="absent"),
    "type of version 2": document(type="outlast-manifest-v2"),
    "type of version 3": document(type="outlast-manifest-v3"),
    "other type": document(type="outlast-manifest-v1x"),
    "type is a list": document(type=["outlast-manifest-v1"]),
    "no kind": document(kind="absent"),
    "unknown kind": document(kind="space"),
    "kind null": document(kind=None),
    "no name": document(name="absent"),
    "name null": document(name=None),
    "name number": document(name=12),
    "name with ..": document(name="../x"),
    "no commit key": document(commit="absent"),
    "commit short": document(commit="abc"),
    "commit number": document(commit=int("1" * 40)),
    "commit empty": document(commit=""),
    "commit false": document(commit=False),
    "no files key": document(files="absent"),
    "files object": document(files={}),
    "files null": document(files=None),
    "entry is text": document(files=["a.bin"]),
    "entry is null": document(files=[None]),
    "missing empty": document(missing=[]),
    "missing null": document(missing=None),
    "unlisted false": document(unlisted=False),
    "unlisted 1": document(unlisted=1),
    "size negative": with_entry(size=-1),
    "size 2^50 + 1": with_entry(size=(1 << 50) + 1),
    "size 2^63": with_entry(size=1 << 63),
    "size 2^64": with_entry(size=1 << 64),
    "size float": with_entry(size=3.0),
    "size half": with_entry(size=3.5),
    "size true": with_entry(size=True),
    "size text": with_entry(size="3"),
    "size null": with_entry(size=None),
    "no size": with_entry(size="absent"),
    "size nested": with_entry(size=[3]),
    "no path": with_entry(path="absent"),
    "path number": with_entry(path=1),
    "path null": with_entry(path=None),
    "path ..": with_entry(path="../../etc/passwd"),
    "path absolute": with_entry(path="/etc/passwd"),
    "path surrogate": with_entry(path="a\ud800"),
    "path NUL": with_entry(path="a\0"),
    "no sha256": with_entry(sha256="absent"),
    "no sha256 but a git id": with_entry(sha256="absent", git_sha1=GIT),
    "sha256 null": with_entry(sha256=None),
    "sha256 upper case": with_entry(sha256="AB" * 32),
    "sha256 short": with_entry(sha256="ab"),
    "sha256 number": with_entry(sha256=1),
    "sha256 list": with_entry(sha256=[SHA]),
    "git id null": with_entry(git_sha1=None),
    "git id is a sha256": with_entry(git_sha1=SHA),
    "root null": with_entry(merkle_root=None),
    "root not hex": with_entry(merkle_root="z" * 64),
    "same path twice": document(files=[ENTRY, ENTRY]),
    "same one-letter path twice": document(files=[{**ENTRY, "path": "b"}, {**ENTRY, "path": "b"}]),
    "same path here and missing": document(missing=[{**ENTRY, "path": "a.bin"}]),
    "one letter here and missing": document(
        files=[{**ENTRY, "path": "b"}], missing=[{**ENTRY, "path": "b"}]
    ),
    "case twins of version 1": document(files=[{**ENTRY, "path": "B.bin"}, ENTRY]),
    "device of version 1": with_entry(path="aux.json"),
    "backslash of version 1": with_entry(path="..\\windows"),
    "file and folder": document(files=[ENTRY, {**ENTRY, "path": "b.bin/c"}]),
    "files not sorted": document(files=[{**ENTRY, "path": "z"}, ENTRY]),
    "missing not sorted": document(missing=[{**ENTRY, "path": "z"}, ENTRY]),
    "a list": [document()],
    "text": "outlast-manifest-v1",
    "null": None,
    "a number": 7,
}

BOMB = 100_000
VALID = dump(document())
BAD_BYTES: dict[str, bytes] = {
    "empty": b"",
    "space": b" ",
    "not JSON": b"hello",
    "not UTF-8": b"\xff\xfe\xfd",
    "cut": VALID[:-1],
    "trailing newline": VALID + b"\n",
    "leading space": b" " + VALID,
    "byte order mark": b"\xef\xbb\xbf" + VALID,
    "UTF-16": VALID.decode().encode("utf-16"),
    "UTF-32": VALID.decode().encode("utf-32"),
    "two documents": VALID + VALID,
    "space after colons": json.dumps(document(), sort_keys=True).encode(),
    "keys not sorted": json.dumps(document(), separators=(",", ":")).encode(),
    "needless escape": VALID.replace(b"a.bin", b"\\u0061.bin"),
    "key twice": VALID.replace(b'"kind"', b'"kind":"model","kind"', 1),
    "key twice in an entry": VALID.replace(b'"size":3', b'"size":4,"size":3', 1),
    "NaN": VALID.replace(b":3", b":NaN"),
    "Infinity": VALID.replace(b":3", b":Infinity"),
    "overflowing float": VALID.replace(b":3", b":1e999"),
    "minus zero": VALID.replace(b":3", b":-0"),
    "leading zero": VALID.replace(b":3", b":03"),
    "exponent": VALID.replace(b":3", b":3e0"),
    "long int": VALID.replace(b":3", b":" + b"9" * 5000),
    "long int that Python parses": VALID.replace(b":3", b":" + b"9" * 4000),
    "very long int": VALID.replace(b":3", b":" + b"9" * 1_000_000),
    "deep lists": b"[" * BOMB,
    "deep lists, closed": b"[" * BOMB + b"]" * BOMB,
    "deep objects": b'{"a":' * BOMB,
    "deep in files": VALID.replace(b"[{", b"[" * BOMB + b"{"),
    "many empty lists": b"[" + b"[]," * BOMB + b"[]]",
    "wide type": VALID.replace(b'"outlast-manifest-v1"', b"[" + b"0," * BOMB + b"0]"),
    "NUL bytes": bytes(100),
    "NUL at the end": VALID + b"\0",
}


def assert_refused(data: bytes) -> None:
    with pytest.raises(OutlastError) as caught:
        Revision.from_bytes(data)
    assert isinstance(caught.value, MalformedError | BadNameError)
    check_error(caught.value)


@pytest.mark.parametrize("what", BAD_DOCUMENTS)
def test_bad_documents_are_refused(what: str) -> None:
    assert_refused(dump(BAD_DOCUMENTS[what]))


@pytest.mark.parametrize("what", BAD_BYTES)
def test_bad_bytes_are_refused(what: str) -> None:
    assert_refused(BAD_BYTES[what])


@pytest.mark.parametrize("where", ["type", "name", "kind", "commit", "files", "unlisted", "size"])
def test_nesting_around_the_interpreters_limit_is_refused(where: str) -> None:
    """Deep enough to print with difficulty, not deep enough for the parser to refuse."""
    for depth in range(880, 1000, 3):
        nested = "@nested@"
        shape = with_entry(size=nested) if where == "size" else document(**{where: nested})
        assert_refused(dump(shape).replace(b'"@nested@"', b"[" * depth + b"]" * depth))


@given(st.binary(max_size=60))
def test_random_bytes_are_refused(data: bytes) -> None:
    assert_refused(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.sampled_from([*document(), "missing", "unlisted"]), json_values)
def test_random_values_are_refused_or_read_back_the_same(key: str, value: Any) -> None:
    data = dump(document(**{key: value}))
    try:
        revision = Revision.from_bytes(data)
    except OutlastError as error:
        check_error(error)
        return
    assert revision.to_bytes() == data


@given(st.sampled_from(["path", "size", "sha256", "git_sha1", "merkle_root"]), json_values)
def test_random_values_in_an_entry(key: str, value: Any) -> None:
    data = dump(with_entry(**{key: value}))
    try:
        revision = Revision.from_bytes(data)
    except OutlastError as error:
        check_error(error)
        return
    assert revision.to_bytes() == data


def test_json_beyond_the_bound_is_not_parsed() -> None:
    with pytest.raises(MalformedError):
        load_json(b"[1]", 2)
    assert load_json(b"[1]", 3) == [1]


@pytest.mark.parametrize("text", ['{"a":1,"a":1}', '[{"a":{"b":1,"b":2}}]', "NaN", "[-Infinity]"])
def test_json_that_readers_disagree_about_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        load_json(text.encode(), 100)


def test_a_revision_of_files_without_a_sha256_cannot_be_made() -> None:
    entry = FileEntry("a", 1, None, GitOid(GIT))
    with pytest.raises(MalformedError):
        Revision.of(RepoId.parse("org/name"), None, [entry])
    assert Revision.of(RepoId.parse("org/name"), None, [], [entry]).partial


def test_one_entry_twice_cannot_be_made() -> None:
    entry = FileEntry("config.json", 1, Digest(SHA))
    for files, missing in (([entry, entry], []), ([entry], [entry])):
        with pytest.raises(OutlastError):
            Revision.of(RepoId.parse("org/name"), None, files, missing)


# Entries


def test_what_identifies_an_entry() -> None:
    large = FileEntry("a", 1, Digest(SHA))
    small = FileEntry("a", 1, None, GitOid(GIT))
    both = FileEntry("a", 1, Digest(SHA), GitOid(GIT))
    assert (large.key, large.etag, large.is_lfs) == (SHA, SHA, True)
    assert (small.key, small.etag, small.is_lfs) == (f"git-{GIT}", GIT, False)
    assert (both.key, both.etag, both.is_lfs) == (SHA, GIT, False)
    with pytest.raises(MalformedError):
        _ = FileEntry("a", 1).key


def test_mismatches_are_told_apart() -> None:
    names = names_of(b"hello")
    good = FileEntry("a", 5, names.sha256, names.git_sha1, names.merkle_root)
    assert good.mismatch(names) is None
    wrong = names_of(b"world")
    assert good.with_names(wrong).mismatch(wrong) is not None, "the git id is as declared"
    for entry, why in [
        (FileEntry("a", 6, names.sha256), "bytes"),
        (FileEntry("a", 5, wrong.sha256), "sha256"),
        (FileEntry("a", 5, None, wrong.git_sha1), "git"),
        (FileEntry("a", 5, None, None, wrong.merkle_root), "merkle"),
    ]:
        assert why in (entry.mismatch(names) or "")
    without_git = Names(names.size, names.sha256, None, names.merkle_root)
    assert good.mismatch(without_git) is not None, "a declared git id must be computed"


def test_find() -> None:
    revision = golden_revision()
    assert revision.find("absent.txt") == FileEntry("absent.txt", 7, None, GitOid(GIT))
    assert revision.find("nothing") is None
