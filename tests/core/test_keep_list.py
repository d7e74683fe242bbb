"""Keep-lists: what people write, what hostile files hold, and that a wrong line is named."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.errors import BadListError
from outlast.core.keep_list import (
    MAX_BYTES,
    MAX_GLOB,
    MAX_GLOBS,
    MAX_MODELS,
    Goal,
    KeepLine,
    parse_keep_list,
)
from outlast.core.names import Target

NAME = "models.txt"


def parse(text: str) -> tuple[KeepLine, ...]:
    return parse_keep_list(text.encode(), NAME)


def line(number: int, target: str, *globs: str) -> KeepLine:
    def of(kind: str) -> tuple[str, ...]:
        return tuple(g.removeprefix(kind) for g in globs if g.startswith(kind))

    return KeepLine(number, Target.parse(target), of("include="), of("exclude="))


def test_a_list_as_people_write_it() -> None:
    text = (
        "# what we keep\n"
        "\n"
        "Qwen/Qwen3-0.6B\n"
        "  meta/Llama@v1.0 \t exclude=original/*   # not the old format\n"
        "\tunsloth/gemma-GGUF include=*Q4_K_M* include=*.json exclude=a=b\n"
        "#org/off\n"
        "datasets/squad@refs/pr/3\n"
        "gpt2 #1\n"
    )
    assert parse(text) == (
        line(3, "Qwen/Qwen3-0.6B"),
        line(4, "meta/Llama@v1.0", "exclude=original/*"),
        line(5, "unsloth/gemma-GGUF", "include=*Q4_K_M*", "include=*.json", "exclude=a=b"),
        line(7, "datasets/squad@refs/pr/3"),
        line(8, "gpt2"),
    )


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("last", ["", "end"])
def test_ends_of_lines_and_marks(end: str, mark: str, last: str) -> None:
    text = mark + end.join(["org/a", "# a comment", "org/b include=*"]) + (end if last else "")
    assert parse(text) == (line(1, "org/a"), line(3, "org/b", "include=*"))


def test_one_model_by_several_refs() -> None:
    assert len(parse("org/a\norg/a@v1\ndatasets/org/a\n")) == 3


@pytest.mark.parametrize(
    ("text", "number", "says"),
    [
        ("a/b/c", 1, "not a model name"),
        ("ok/a\n\nhttps://huggingface.co/org/a", 3, "not a model name"),
        ("ok/a\norg/a@", 2, "a ref is missing after org/a@"),
        ("org/a@a..b", 1, "not a ref"),
        ("org/a main", 1, "not include=GLOB"),
        ("org/a org/b", 1, "not include=GLOB"),
        ("org/a include", 1, "not include=GLOB"),
        ("org/a include=", 1, "not include=GLOB"),
        ("org/a Include=*", 1, "not include=GLOB"),
        ("org/a --include=*", 1, "not include=GLOB"),
        ("org/a include= *", 1, "not include=GLOB"),
        ("org/a include=" + "a" * (MAX_GLOB + 1), 1, "not include=GLOB"),
        ("org/a" + " include=*" * (MAX_GLOBS + 1), 1, "globs"),
        ("ok/a\n" * 2, 2, "on line 1 already"),
        ("org/a\nORG/A", 2, "on line 1 already"),
        ("org/a\norg/a@main", 2, "on line 1 already"),
        ("magnet:?xt=urn:btmh:1220" + "ab" * 32, 1, "not a model name"),
        ("org/a\0", 1, "cannot be printed"),
        ("org/a include=\x1b[31m", 1, "cannot be printed"),
        ("org/a\rorg/b", 1, "cannot be printed"),
        ("org/a\u2028org/b", 1, "cannot be printed"),
        ("org/a\x0corg/b", 1, "cannot be printed"),
        ("org/a\u00a0include=*", 1, "cannot be printed"),
        ("ok/a\n\ufefforg/a", 2, "cannot be printed"),
        ("../../etc/passwd", 1, "not a model name"),
        ("-rf", 1, "not a model name"),
        ("x" * 5000, 1, "not a model name"),
    ],
)
def test_a_line_that_is_wrong(text: str, number: int, says: str) -> None:
    with pytest.raises(BadListError) as caught:
        parse(text)
    message = str(caught.value)
    assert message.startswith(f"{NAME}, line {number}: ")
    assert says in message
    assert message.isprintable()
    assert len(message) < 700
    assert caught.value.hint


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# org/a\n", b"\xef\xbb\xbf", b"  \t\r\n"])
def test_a_list_that_names_nothing_is_a_mishap(data: bytes) -> None:
    with pytest.raises(BadListError, match="names no model"):
        parse_keep_list(data, NAME)


@pytest.mark.parametrize(
    "data", ["org/a\n".encode("utf-16"), "org/a\norg/ä".encode("latin-1"), b"ok/a\n\xff\xfe"]
)
def test_another_encoding(data: bytes) -> None:
    with pytest.raises(BadListError, match=r"line [12]: not UTF-8"):
        parse_keep_list(data, NAME)


def test_a_list_has_bounds() -> None:
    names = "".join(f"org/{number}\n" for number in range(MAX_MODELS))
    assert len(parse(names)) == MAX_MODELS
    with pytest.raises(BadListError, match=f"line {MAX_MODELS + 1}: more than"):
        parse(names + "org/last")
    with pytest.raises(BadListError, match="bytes"):
        parse_keep_list(b"#" * (MAX_BYTES + 1), NAME)


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_list_or_one_line_of_complaint(data: bytes) -> None:
    try:
        found = parse_keep_list(data, NAME)
    except BadListError as error:
        assert str(error).isprintable()  # noqa: PT017 - most bytes are no list
    else:
        assert 0 < len(found) <= data.count(b"\n") + 1
        numbers = [one.number for one in found]
        assert numbers == sorted(set(numbers))


_NAMES = st.from_regex(r"o[a-z0-9]{0,8}/Q[a-z0-9_-]{0,8}", fullmatch=True)
_GLOBS = st.lists(
    st.sampled_from(["include=", "exclude="]).flatmap(
        lambda key: st.text(string.ascii_letters + "*?[]!./=#é", min_size=1, max_size=9).map(
            lambda glob: key + glob
        )
    ),
    max_size=4,
)
_BLANKS = st.text(" \t", min_size=1, max_size=3)


@given(
    st.lists(
        st.tuples(_NAMES, st.sampled_from(["", "@main", "@v1.0", "@" + "a" * 40]), _GLOBS, _BLANKS),
        min_size=1,
        max_size=6,
        unique_by=lambda model: model[0].lower(),
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", " # org/none include=*", "\t#"]),
)
def test_what_is_written_is_read(
    models: list[tuple[str, str, list[str], str]], end: str, comment: str
) -> None:
    texts = [blank.join([name + ref, *globs]) + comment for name, ref, globs, blank in models]
    assert parse(end.join(texts)) == tuple(
        line(number, name + ref, *globs) for number, (name, ref, globs, _) in enumerate(models, 1)
    )


def test_goals() -> None:
    text = "org/a copies=3 where=lan,site-b,s3\norg/b copies=2 include=*.json\norg/c\n"
    assert [one.goal for one in parse(text)] == [
        Goal(3, ("lan", "site-b", "s3")),
        Goal(2),
        None,
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("copies=0", "not a number of copies: copies='0'"),
        ("copies=+2", "not a number of copies"),
        ("copies=2.5", "not a number of copies"),
        ("copies=101", "not a number of copies"),
        ("copies=\u0663", "not a number of copies"),
        ("copies=2 copies=3", "copies= stands there twice"),
        ("where=lan", "where= without copies="),
        ("copies=2 where=lan,", "not the name of a site: ''"),
        ("copies=2 where=Lan", "not the name of a site: 'Lan'"),
        ("copies=2 where=lan,lan", "a site stands there twice"),
        ("copies=1 where=lan,s3", "2 sites for copies=1"),
    ],
)
def test_wrong_goals_name_their_line(words: str, said: str) -> None:
    with pytest.raises(BadListError) as caught:
        parse(f"org/a\norg/b {words}\n")
    assert str(caught.value).startswith(f"{NAME}, line 2: {said}")
