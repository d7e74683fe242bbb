"""Names from outside, most of them hostile."""

import hashlib
import shutil
import string
import subprocess
import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.errors import BadNameError, OutlastError
from outlast.core.names import (
    MAX_PATH,
    MAX_SEGMENT,
    RepoId,
    RepoKind,
    Target,
    are_portable,
    check_path,
    check_paths,
    check_ref,
    fold,
    folders_above,
    portable_names,
    quote_ref,
    unquote_ref,
)

DEVICES = ["CON", "con", "prn", "AUX", "NUL", "nul.txt", "com1", "COM1.txt", "lpt9.tar.gz", "com0"]

UNSAFE_PATHS = [
    "",
    ".",
    "..",
    "../x",
    "a/..",
    "a/../b",
    "a/./b",
    "./a",
    "/etc/passwd",
    "//x",
    "a//b",
    "a/",
    "/",
    "a\0b",
    "\0",
    "a\nb",
    "a\rb",
    "a\tb",
    "\x1b[31m",
    "\x7f",
    "\x85",
    ".git",
    ".git/config",
    "sub/.GIT/hooks/post-checkout",
    "\ud800",
    "a\udc80",
    "a" * 256,
    "é" * 128,
    "a" * 4096,
    "a/" * 2048 + "a",
    "/".join(["a" * 200] * 6),
]

UNPORTABLE_PATHS = [
    "a/C1_or_C2?_premise/x.json",
    "\\x",
    "..\\x",
    "a\\b",
    "C:",
    "C:\\x",
    "c:/x",
    "file:stream",
    "a<b",
    "a>b",
    'a"b',
    "a|b",
    "a?b",
    "a*b",
    "a.",
    "a ",
    "trailing. ",
    "dir./x",
    "dir /x",
    "...",
    " ",
    "?" * 255,
    *DEVICES,
    *(f"sub/{name}" for name in DEVICES),
    "con .txt",
    "aux/x",
    "COM\u00b9",
    "com\u00b2.txt",
    "LPT\u00b3",
    "conin$",
    "CONOUT$",
]

GOOD_PATHS = [
    "config.json",
    ".gitattributes",
    ".gitignore",
    "model-00001-of-00002.safetensors",
    "sub/deep/er/x.bin",
    "a b.txt",
    "..a",
    "a..b",
    "é.txt",
    "日本語/モデル.gguf",
    "\U0001f600",
    "com10",
    "console.txt",
    "null",
    "auxiliary/x",
    "a" * 255,
    "é" * 127,
    "x" * 200 + "/" + "y" * 200,
    "%2e%2e/x",
    "-rf",
    "~",
    "a'b",
]


@pytest.mark.parametrize("path", UNSAFE_PATHS, ids=lambda path: ascii(path)[:40])
def test_unsafe_paths_are_refused_in_one_line(path: str) -> None:
    with pytest.raises(BadNameError) as caught:
        check_path(path)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.hint


@pytest.mark.parametrize("path", GOOD_PATHS, ids=lambda path: ascii(path)[:40])
def test_ordinary_paths_are_accepted_and_stay_as_they_are(path: str) -> None:
    assert check_path(path) == path
    assert are_portable([path])
    if "%2e" not in path:  # it would read as an escape
        assert portable_names([path]) == {path: path}


@pytest.mark.parametrize("path", UNPORTABLE_PATHS, ids=lambda path: ascii(path)[:40])
def test_paths_that_some_systems_refuse_are_accepted_and_not_portable(path: str) -> None:
    assert check_path(path) == path
    assert not are_portable([path])
    assert are_portable(portable_names([path]).values())


@given(st.text(max_size=40))
def test_accepted_paths_stay_below_their_folder(path: str) -> None:
    try:
        check_path(path)
    except OutlastError:
        return
    assert len(path) <= MAX_PATH
    assert not {"", ".", ".."} & set(path.split("/"))
    assert not path.startswith("/")
    assert "\0" not in path
    path.encode()


TWINS = [
    ("a.txt", "A.TXT"),
    ("Dir/x", "dir/x"),
    ("straße", "STRASSE"),
    ("é", "e\u0301"),
    ("É", "e\u0301"),
    ("\u212b", "\u00e5"),
    ("K", "\u212a"),
    ("\u03c2", "\u03c3"),
    ("가", "\u1100\u1161"),
    ("\ufb01", "fi"),
]


@pytest.mark.parametrize(("one", "two"), TWINS)
def test_twins_on_a_case_insensitive_file_system_are_two_files(one: str, two: str) -> None:
    for pair in ([one, two], [two, one], [f"d/{one}", f"d/{two}"]):
        check_paths(pair)
        assert not are_portable(pair)
        names = portable_names(pair)
        assert len(names) == 2
        assert are_portable(names.values())
    assert are_portable([one])
    assert are_portable([two])


@pytest.mark.parametrize("path", ["a", "é", "config.json", "sub/x"])
def test_the_same_path_twice_is_refused(path: str) -> None:
    """Also where Python shares one string object between both, as it does for one letter."""
    with pytest.raises(BadNameError):
        check_paths([path, "".join(list(path))])
    with pytest.raises(BadNameError):
        check_paths([path, path])


@pytest.mark.parametrize("paths", [["a", "a/b"], ["a/b", "a"], ["x", "a/b/c/d", "a/b"]])
def test_a_file_and_a_folder_of_the_same_name_are_refused(paths: list[str]) -> None:
    with pytest.raises(BadNameError):
        check_paths(paths)


@pytest.mark.parametrize(
    "paths",
    [
        ["A", "a/b"],
        ["a/b/c/d", "x", "a/B"],
        ["é", "e\u0301/x"],
        ["STRASSE/x", "straße"],
    ],
)
def test_a_file_and_a_folder_that_differ_in_case_are_not_portable(paths: list[str]) -> None:
    check_paths(paths)
    assert not are_portable(paths)
    assert are_portable(portable_names(paths).values())


ESCAPED = {
    "a/C1_or_C2?_premise/x.json": "a/C1_or_C2%3F_premise/x.json",
    "aux.json": "%61ux.json",
    "b\\c.txt": "b%5Cc.txt",
    "A.txt": "%41.txt",
    "a.txt": "a.txt",
    "trailing. ": "trailing.%20",
    "100%.txt": "100%.txt",
    "100%3F.txt": "100%253F.txt",
    "%sha256-x": "%25sha256-x",
    "README.md": "README.md",
    "Straße/é.txt": "Straße/é.txt",
}


def test_how_names_are_escaped() -> None:
    """docs/format/names.md says so: folders that were made once are read for ever."""
    assert portable_names(ESCAPED) == ESCAPED
    digest = hashlib.sha256(b"?" * 250 + b".json").hexdigest()
    assert portable_names(["?" * 250 + ".json"]) == {"?" * 250 + ".json": f"%sha256-{digest}.json"}


def test_what_is_in_one_folder_stays_in_one() -> None:
    assert portable_names(["Sub/config.json", "sub/config.json", "Sub/x", "other"]) == {
        "Sub/config.json": "%53ub/config.json",
        "Sub/x": "%53ub/x",
        "sub/config.json": "sub/config.json",
        "other": "other",
    }


PARTS = st.one_of(
    st.text("aAbB%?:é\u0301 ./3AFfux\\", min_size=1, max_size=5),
    st.sampled_from(["aux", "AUX", "%3F", "?", "%3f", "%253F", "é", "e\u0301", "%C3%A9", "a", "A"]),
    st.text(min_size=1, max_size=4),
)


def _safe(paths: set[str]) -> bool:
    try:
        check_paths(paths)
    except OutlastError:
        return False
    return True


@given(st.sets(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=6).filter(_safe))
def test_escaping_gives_each_file_a_portable_name_of_its_own(paths: set[str]) -> None:
    names = portable_names(paths)
    assert names.keys() == paths
    assert are_portable(names.values())
    assert len(set(map(fold, names.values()))) == len(paths)
    assert portable_names(sorted(paths, reverse=True)) == names
    shown = {
        folder: names[path].rsplit("/", path.count("/") - folder.count("/"))[0]
        for path in paths
        for folder in folders_above(path)
    }
    for path, name in names.items():
        check_path(name)
        places = [shown[folder] for folder in folders_above(path)]
        assert folders_above(name) == places, "a folder stays one folder"
        assert unquote(name) == path, "it can be undone without the list"
    if are_portable(paths) and "%" not in "".join(paths):
        assert all(path == name for path, name in names.items())


@given(PARTS.map(lambda part: part * (MAX_SEGMENT // len(part.encode("utf-8", "replace")))))
def test_parts_that_grow_too_long_get_short_names(part: str) -> None:
    if not _safe({part}):
        return
    (name,) = portable_names([part]).values()
    assert are_portable([name])
    assert all(len(each.encode()) <= MAX_SEGMENT for each in name.split("/"))


def test_many_different_paths_are_accepted() -> None:
    for paths in (["a", "b/a", "b/c", "ab", "a.b", "b.a/x", "c/a/a/a"], ["D/x", "d/y"], []):
        check_paths(paths)
        assert are_portable(paths)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_fold_does_not_see_case_or_unicode_form(text: str) -> None:
    for form in ("NFC", "NFD"):
        assert fold(unicodedata.normalize(form, text)) == fold(text)
    assert fold(text.casefold()) == fold(fold(text))


@given(st.text(string.ascii_letters + "/._-"))
def test_fold_of_ascii(text: str) -> None:
    assert fold(text.upper()) == fold(text.lower()) == text.lower()


GOOD_REPOS = [
    ("gpt2", RepoKind.MODEL, "gpt2"),
    ("org/name", RepoKind.MODEL, "org/name"),
    ("models/org/name", RepoKind.MODEL, "org/name"),
    ("datasets/org/name", RepoKind.DATASET, "org/name"),
    ("datasets/squad", RepoKind.DATASET, "squad"),
    ("Org_1/na.me-2.5B_x", RepoKind.MODEL, "Org_1/na.me-2.5B_x"),
    ("a" * 96, RepoKind.MODEL, "a" * 96),
]

BAD_REPOS = [
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    "a/b/c",
    "..",
    "../..",
    "a/..",
    "a/.b",
    ".a",
    "-a",
    "a/-",
    "a..b",
    "a b",
    "a\\b",
    "a\0",
    "a\n",
    "a/b\n",
    "é",
    "a.git",
    "a.lock",
    "a.",
    "con",
    "org/aux",
    "org/com1.txt",
    "a" * 97,
    "a@b",
    "a%2fb",
    "datasets/",
    "models/",
    "datasets/a/b/c",
    "\ud800",
    "a" * 4096,
]


@pytest.mark.parametrize(("text", "kind", "name"), GOOD_REPOS)
def test_model_names(text: str, kind: RepoKind, name: str) -> None:
    assert RepoId.parse(text) == RepoId(kind, name)


@pytest.mark.parametrize("text", BAD_REPOS, ids=lambda text: ascii(text)[:40])
def test_bad_model_names_are_refused(text: str) -> None:
    with pytest.raises(BadNameError):
        RepoId.parse(text)


@given(
    st.sampled_from(RepoKind),
    st.sampled_from(["", "org/", "models/", "datasets/", "spaces/", "-/"]),
    st.text(string.ascii_letters + string.digits + "._-/", min_size=1, max_size=12),
)
def test_what_is_printed_reads_back_as_the_same_model(
    kind: RepoKind, organisation: str, name: str
) -> None:
    """Else one model could be shown, and asked for, as another."""
    try:
        repo = RepoId(kind, organisation + name)
    except BadNameError:
        return
    assert RepoId.parse(str(repo)) == repo
    assert repo.api_path == f"{kind.plural}/{repo.name}"


@pytest.mark.parametrize("name", ["models/x", "datasets/x"])
def test_an_organisation_cannot_pose_as_a_kind(name: str) -> None:
    with pytest.raises(BadNameError):
        RepoId(RepoKind.MODEL, name)


GOOD_REFS = ["main", "v1.0", "refs/pr/1", "feature/x-y_z", "100%", "a.b", "é", "0" * 40, "A+B=C"]

BAD_REFS = [
    "",
    ".",
    "..",
    "a..b",
    "/a",
    "a/",
    "a//b",
    ".a",
    "a/.b",
    "a.",
    "a.lock",
    "a.lock/b",
    "a b",
    "a~1",
    "a^",
    "a:b",
    "a?",
    "a*",
    "a[b",
    "a\\b",
    "a@{1}",
    "a\0",
    "a\nb",
    "a\x7f",
    "\ud800",
    "-x",
    "--upload-pack=x",
    "../../etc/passwd",
    "x" * 201,
    "é" * 100,
    "\u202e",
    "x" * 4096,
]


@pytest.mark.parametrize("ref", GOOD_REFS)
def test_refs(ref: str) -> None:
    assert check_ref(ref) == ref
    assert unquote_ref(quote_ref(ref)) == ref


@pytest.mark.parametrize("ref", BAD_REFS, ids=lambda ref: ascii(ref)[:40])
def test_bad_refs_are_refused(ref: str) -> None:
    with pytest.raises(BadNameError):
        check_ref(ref)


@given(st.text(min_size=1, max_size=20) | st.sampled_from([*DEVICES, "con/x"]))
def test_an_accepted_ref_is_one_safe_file_name(ref: str) -> None:
    try:
        check_ref(ref)
    except BadNameError:
        return
    name = quote_ref(ref)
    assert "/" not in name
    assert name.isascii()
    assert not name.startswith(".")
    assert unquote_ref(name) == ref
    assert are_portable([check_path(name)])


@pytest.mark.parametrize("ref", DEVICES)
def test_a_ref_named_like_a_device_is_a_safe_file_name_all_the_same(ref: str) -> None:
    assert are_portable([check_path(quote_ref(check_ref(ref)))])
    assert unquote_ref(quote_ref(ref)) == ref


def test_git_accepts_no_less() -> None:
    """What we accept as a ref, git accepts as a branch; but for its rules about '-' and HEAD."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    for ref in GOOD_REFS:
        subprocess.run(["git", "check-ref-format", f"refs/heads/{ref}"], check=True)


def test_targets() -> None:
    assert Target.parse("org/name") == Target(RepoId.parse("org/name"), None)
    assert Target.parse("org/name@refs/pr/1") == Target(RepoId.parse("org/name"), "refs/pr/1")
    assert str(Target.parse("datasets/a/b@main")) == "datasets/a/b@main"
    for text in ("org/name@", "@main", "org/name@a..b", "org/name@-x", "a/b/c@main"):
        with pytest.raises(BadNameError):
            Target.parse(text)
