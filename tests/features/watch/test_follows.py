"""The list of follows: what people write, what commands change in it, and what stays as it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outlast.core.errors import BadListError, BadNameError, NotFoundError
from outlast.core.keep_list import MAX_BYTES, Priority, parse_keep_list
from outlast.core.names import RepoId, RepoKind
from outlast.features.watch.follow import Follow, PatternKind
from outlast.features.watch.follows import (
    _changed,
    _line_of,
    drop_follow,
    follows_file,
    parse_follows,
    parse_pattern,
    put_follow,
    read_follows,
)
from outlast.store.archive import Archive

WRITTEN = """\
# what we live on

Qwen/*   include=*.json budget=1GB   # all of theirs
meta/Llama@v1 priority=high
datasets/squad
datasets/org/* exclude=*.bin
collections/Qwen/qwen3-67dd
search:author=google,tag=gguf,tag=vision,license=apache-2.0,base_model=google/gemma-3
"""


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive", create=True)


def write(archive: Archive, text: str) -> Path:
    path = follows_file(archive.layout.home)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())
    return path


def test_a_list_as_people_write_it() -> None:
    assert parse_follows(WRITTEN.encode(), "list", "here") == (
        Follow(
            "Qwen/*",
            PatternKind.ORGANISATION,
            organisation="Qwen",
            include=("*.json",),
            budget=10**9,
            origin="here",
        ),
        Follow(
            "meta/Llama@v1",
            PatternKind.MODEL,
            repo=RepoId.parse("meta/Llama"),
            ref="v1",
            priority=Priority.HIGH,
            origin="here",
        ),
        Follow(
            "datasets/squad",
            PatternKind.MODEL,
            RepoKind.DATASET,
            RepoId.parse("datasets/squad"),
            origin="here",
        ),
        Follow(
            "datasets/org/*",
            PatternKind.ORGANISATION,
            RepoKind.DATASET,
            organisation="org",
            exclude=("*.bin",),
            origin="here",
        ),
        Follow(
            "collections/Qwen/qwen3-67dd",
            PatternKind.COLLECTION,
            organisation="Qwen",
            slug="Qwen/qwen3-67dd",
            origin="here",
        ),
        Follow(
            "search:author=google,tag=gguf,tag=vision,license=apache-2.0,base_model=google/gemma-3",
            PatternKind.SEARCH,
            terms=(
                ("author", "google"),
                ("tag", "gguf"),
                ("tag", "vision"),
                ("license", "apache-2.0"),
                ("base_model", "google/gemma-3"),
            ),
            origin="here",
        ),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*/x",
        "org/Qwen*",
        "../*",
        "org/a/*",
        "datasets/*",
        "collections/",
        "collections/x",
        "collections/x/",
        "collections/a/b/c",
        "collections/../b",
        "search:",
        "search:author",
        "search:author=",
        "search:author=a,author=b",
        "search:likes=3",
        "search:tag=a b",
        "search:tag=ä",
        "search:tag=a\n",
        "search:" + ",".join(["tag=x"] * 17),
        "org/a@",
        "https://huggingface.co/org/a",
    ],
)
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(BadNameError) as caught:
        parse_pattern(text)
    assert str(caught.value).isprintable()
    assert caught.value.hint


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("org/*/x", "not a model name"),
        ("org/a budget=lots", "not a size"),
        ("org/a budget=1GB budget=2GB", "twice"),
        ("org/a priority=urgent", "not a priority"),
        ("org/a size=3", "not include=GLOB"),
        ("Org/*", "on line 1 already"),
        ("models/ORG/*", "on line 1 already"),
    ],
)
def test_the_first_wrong_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(f"org/*\n# a comment\n{line}\norg/b budget=?\n")
    with pytest.raises(BadListError) as caught:
        read_follows(tmp_path, [path])
    assert str(caught.value).startswith("mine.txt, line 3: ")
    assert says in str(caught.value)


def test_refs_of_other_spelling_are_others() -> None:
    assert len(parse_follows(b"org/a\norg/a@v1\norg/a@V1\n", "list", "")) == 3
    with pytest.raises(BadListError, match="line 2: org/a@main is on line 1"):
        parse_follows(b"Org/A\norg/a@main\n", "list", "")


def test_lists_of_the_settings_are_followed_too(archive: Archive, tmp_path: Path) -> None:
    home = archive.layout.home
    assert read_follows(home, []) == ()
    put_follow(archive, parse_pattern("org/a"))
    lists = [tmp_path / "one.txt", tmp_path / "two.txt"]
    lists[0].write_text("org/a budget=5\norg/b priority=low\n")
    lists[1].write_text("org/B budget=7\norg/c\n")
    found = read_follows(home, lists)
    assert [(one.text, one.budget, one.origin) for one in found] == [
        ("org/a", None, ""),
        ("org/b", None, str(lists[0])),
        ("org/c", None, str(lists[1])),
    ]
    with pytest.raises(NotFoundError, match=r"no keep-list at .*three\.txt"):
        read_follows(home, [*lists, tmp_path / "three.txt"])


def test_a_list_is_bounded(archive: Archive) -> None:
    write(archive, "#" * (MAX_BYTES + 1))
    with pytest.raises(BadListError, match="bytes"):
        read_follows(archive.layout.home, [])


def test_commands_change_one_line_and_leave_the_rest(archive: Archive) -> None:
    path = write(archive, WRITTEN)
    new = parse_pattern("qwen/*")
    before = put_follow(archive, new)
    assert before is not None
    assert before.budget == 10**9
    assert path.read_text() == WRITTEN.replace(
        "Qwen/*   include=*.json budget=1GB   # all", "qwen/*   # all"
    )
    gone = drop_follow(archive, parse_pattern("Meta/llama@v1").key)
    assert gone is not None
    assert "Llama" not in path.read_text()
    assert drop_follow(archive, "nothing") is None
    assert put_follow(archive, parse_pattern("org/last")) is None
    assert path.read_text().endswith("google/gemma-3\norg/last\n")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "end"])
def test_ends_of_lines_stay(archive: Archive, end: str, last: str) -> None:
    text = end.join(["org/a", "# comment", "org/b"]) + (end if last else "")
    path = write(archive, text)
    put_follow(archive, parse_pattern("org/c"))
    assert path.read_bytes().decode() == end.join(["org/a", "# comment", "org/b", "org/c", ""])


def test_a_wrong_list_is_not_written_over(archive: Archive) -> None:
    path = write(archive, "org/a\nnonsense here\n")
    with pytest.raises(BadListError, match="line 2"):
        put_follow(archive, parse_pattern("org/b"))
    assert path.read_text() == "org/a\nnonsense here\n"


_WORDS = st.sampled_from(["*", "a", "b@v1", "B-2", "c.d"])


def written(follow: Follow) -> Callable[[str], str]:
    return lambda _: _line_of(follow)


@given(
    st.lists(st.tuples(st.sampled_from(["o", "P"]), _WORDS), max_size=6),
    st.integers(0, 10**18 - 1) | st.none(),
    st.sampled_from(list(Priority)),
)
@example([("o", "*")], 2**53 + 1, Priority.HIGH)
def test_what_commands_write_is_read_back(
    names: list[tuple[str, str]],
    budget: int | None,
    priority: Priority,
) -> None:
    expected: dict[str, Follow] = {}
    data = b""
    for organisation, name in names:
        follow = replace(
            parse_pattern(f"{organisation}/{name}"),
            include=("*.json", "a?b"),
            budget=budget,
            priority=priority,
        )
        data, before = _changed(data, follow.key, written(follow))
        assert before == expected.get(follow.key)
        expected[follow.key] = follow
        assert parse_follows(data, "list", "") == tuple(expected.values())


def test_a_keep_list_may_have_the_words_of_follows_but_no_patterns() -> None:
    (line,) = parse_keep_list(b"org/a include=*.json budget=1GB priority=low\n", "list")
    assert line.include == ("*.json",)
    with pytest.raises(BadListError, match="not a model name") as caught:
        parse_keep_list(b"org/*\n", "list")
    assert "outlast follow" in caught.value.hint
