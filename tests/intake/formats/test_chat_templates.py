"""Where chat templates lie, how they changed, and what in them deserves a look."""

import json
from pathlib import Path

import pytest

from outlast.core.names import RepoId
from outlast.intake.formats.chat_templates import (
    MAX_TEMPLATE,
    ChatTemplate,
    changes,
    remarks,
    templates_of,
)
from outlast.intake.formats.code_files import is_code
from outlast.store.archive import Archive
from tests.engines.gguf_files import small_gguf
from tests.serve.peers import archive_files

REPO = RepoId.parse("org/talk")


def found(tmp_path: Path, files: dict[str, bytes]) -> dict[str, str | None]:
    with Archive(tmp_path / "archive", create=True) as archive:
        revision = archive_files(archive, REPO, files)
        return {one.place: one.text for one in templates_of(archive, revision)}


def test_all_places_are_known(tmp_path: Path) -> None:
    named = [{"name": "tool", "template": "T"}, {"name": "rag"}, 7]
    assert found(
        tmp_path,
        {
            "chat_template.jinja": b"A",
            "additional_chat_templates/tool.jinja": b"B",
            "other.jinja": b"no",
            "tokenizer_config.json": json.dumps({"chat_template": named}).encode(),
            "sub/chat_template.json": json.dumps({"chat_template": "C"}).encode(),
            "m.gguf": small_gguf(
                {"tokenizer.chat_template": "D", "tokenizer.chat_template.tool": "E"}
            ),
        },
    ) == {
        "chat_template.jinja": "A",
        "additional_chat_templates/tool.jinja": "B",
        "tokenizer_config.json:tool": "T",
        "sub/chat_template.json": "C",
        "m.gguf": "D",
        "m.gguf:tool": "E",
    }


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("tokenizer_config.json", b"{" * 100_000),
        ("tokenizer_config.json", b"[]"),
        ("tokenizer_config.json", b'{"chat_template": 7}'),
        ("m.gguf", b"GGUF" + b"\xff" * 40),
        ("m.gguf", small_gguf()[:50]),
    ],
)
def test_what_is_damaged_has_none(tmp_path: Path, name: str, data: bytes) -> None:
    assert found(tmp_path, {name: data}) == {}


def test_what_is_too_long_is_not_read(tmp_path: Path) -> None:
    assert found(tmp_path, {"chat_template.jinja": b"x" * (MAX_TEMPLATE + 1)}) == {
        "chat_template.jinja": None
    }


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{%- include 'x' %}", "loads other templates"),
        ("{{ ''.__class__ }}", "names attributes of Python itself"),
        ("{{ x | attr('a') }}", "names attributes of Python itself"),
        ("{% for i in range(1000000) %}", "counts up to large numbers"),
        ("{{ strftime_now('%Y') }}", "asks for the time"),
        ("see HTTPS://example.org", "contains a web address"),
        ("a\u202eb", "contains invisible characters"),
        ("a\U000e0041b", "contains invisible characters"),
    ],
)
def test_what_deserves_a_look(text: str, what: str) -> None:
    assert remarks(ChatTemplate("t", len(text), text)) == [what]


def test_an_ordinary_template_has_no_remarks() -> None:
    text = "{% for m in messages %}{{ m['role'] }}: {{ m.content }}{% endfor %}"
    assert remarks(ChatTemplate("t", len(text), text)) == []


def test_changes() -> None:
    def one(place: str, text: str) -> ChatTemplate:
        return ChatTemplate(place, len(text), text)

    old = [one("a", "1\n2\n"), one("b", "x"), one("gone", "y")]
    new = [one("a", "1\n3\n"), one("b", "x"), one("new", "z")]
    said = {change.place: change for change in changes(old, new)}
    assert {place: change.what for place, change in said.items()} == {
        "a": "changed",
        "gone": "removed",
        "new": "added",
    }
    assert said["a"].diff[-3:] == (" 1", "-2", "+3")


def test_many_lines_are_not_compared_one_by_one() -> None:
    old, new = (ChatTemplate("a", 200_000, "\n" * 99_000 + end) for end in "xy")
    [change] = changes([old], [new])
    assert change.diff == ("too long to be compared line by line: from 200000 to 200000 bytes",)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("modeling_x.py", True),
        ("sub/X.PY", True),
        ("lib.so", True),
        ("py", False),
        (".py", False),
        ("a.py/config.json", False),
        ("model.safetensors", False),
    ],
)
def test_code_is_told_by_its_name(path: str, code: bool) -> None:
    assert is_code(path) is code
