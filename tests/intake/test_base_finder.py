"""What cards and tags name as a base, and which settings say in what form files are kept."""

import json
from pathlib import Path

import pytest

from outlast.cli.config.file import load_config
from outlast.cli.options.forms import form_wishes
from outlast.core.errors import BadConfigError, UsageError
from outlast.core.names import Target
from outlast.intake.base_finder import _equal_bytes
from outlast.intake.base_names import read_card, read_tags
from outlast.intake.form_policy import SMALLEST, FormWish, FormWishes

CARDS = {
    "a text": ("base_model: org/base", ["org/base"]),
    "quoted": ("base_model: 'org/base'  ", ["org/base"]),
    "doubly quoted": ('base_model: "org/base"', ["org/base"]),
    "with a comment": ("base_model: org/base # the best", ["org/base"]),
    "a list": ("base_model:\n- org/one\n- org/two\nlicense: mit", ["org/one", "org/two"]),
    "an indented list": ('base_model:\n  - "org/one"\n  - org/two', ["org/one", "org/two"]),
    "in brackets": ("base_model: [org/one, 'org/two']", ["org/one", "org/two"]),
    "twice": ("base_model: [org/one, org/one]", ["org/one"]),
    "among others": ("license: mit\ntags:\n- a/b\nbase_model: org/base\n", ["org/base"]),
    "nothing": ("base_model:\nlicense: mit\n- org/base", []),
    "no model": ("base_model: ../../etc/passwd", []),
    "no organisation": ("base_model: gpt2", []),
    "another key": ("base_model_relation: org/base", []),
    "too many": ("base_model:\n" + "- org/a\n" * 5 + "".join(f"- o/m{n}\n" for n in range(50)), 8),
}


@pytest.mark.parametrize("name", CARDS)
def test_cards(name: str) -> None:
    text, wanted = CARDS[name]
    found = [str(repo) for repo in read_card("README.md", f"---\n{text}\n---\n# T\n".encode())]
    assert (len(found) if isinstance(wanted, int) else found) == wanted


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"---", b"# no front matter\nbase_model: org/base\n", b"\xff\xfe---\n\x00"),
        *(b"---\n---\nbase_model: org/base\n", b"---\nbase_model: " + b"[" * 100_000),
    ],
)
def test_cards_that_name_nothing(data: bytes) -> None:
    assert read_card("README.md", data) == []


def test_configs() -> None:
    named = json.dumps({"_name_or_path": "org/base"}).encode()
    assert [str(repo) for repo in read_card("config.json", named)] == ["org/base"]
    for data in (
        b"[",
        b"[" * 100_000,
        b"[]",
        b'{"_name_or_path": 3}',
        b'{"_name_or_path": "/a/b"}',
    ):
        assert read_card("config.json", data) == []


def test_tags() -> None:
    tags = ["license:mit", "base_model:org/one", "base_model:finetune:org/one", "base_model:x"]
    assert [str(repo) for repo in read_tags([*tags, "base_model:merge:org/two"])] == [
        *("org/one", "org/two")
    ]


def test_the_form_of_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('form = "capsule"\n')
    surroundings = {"OUTLAST_CONFIG": str(file)}
    assert load_config({"OUTLAST_CONFIG": "/dev/null"}).form is FormWish.AUTO
    assert load_config(surroundings).form is FormWish.CAPSULE
    config = load_config(surroundings | {"OUTLAST_FORM": "plain"})
    assert config.form is FormWish.PLAIN
    assert form_wishes(config, None, None, no_base=True) == FormWishes(
        FormWish.PLAIN, allow_bases=False
    )
    assert form_wishes(config, "auto", None, no_base=False) == FormWishes()
    with pytest.raises(UsageError):
        form_wishes(config, None, Target.parse("a/b"), no_base=True)
    with pytest.raises(BadConfigError, match="not a form"):
        load_config(surroundings | {"OUTLAST_FORM": "zip"})


def test_what_is_kept() -> None:
    auto, capsule = FormWishes(), FormWishes(FormWish.CAPSULE)
    assert auto.keeps(970, 1000)
    assert not auto.keeps(971, 1000)
    assert capsule.keeps(999, 1000)
    assert not capsule.keeps(1000, 1000)
    assert auto.tries(SMALLEST)
    assert not auto.tries(SMALLEST - 1)
    assert not FormWishes(FormWish.PLAIN).tries(SMALLEST)


@pytest.mark.parametrize(
    ("one", "two", "equal"),
    [(b"", b"", 0), (b"\0\0", b"\0\0", 2), (b"abcd", b"abxd", 3), (b"\0a", b"\1b", 0)],
)
def test_equal_bytes_are_counted_by_place(one: bytes, two: bytes, equal: int) -> None:
    assert _equal_bytes(one, two) == equal
