"""The checks of this folder find what they are for, and nothing else."""

import ast
from pathlib import Path

import pytest

from tests.lint import rooms, words
from tests.lint.sources import APART, ROOT, Module, apply, modules
from tests.lint.uncalled import uncalled


def module(name: str, text: str = "") -> Module:
    return Module(f"outlast.{name}", f"src/outlast/{name.replace('.', '/')}.py", ast.parse(text))


USER = module("b", "from outlast.a import used\nused()")


@pytest.mark.parametrize(
    ("text", "unused"),
    [
        ("def used(): ...", set()),
        ("def used(): ...\ndef other(): ...", {"outlast.a.other"}),
        ("def used(): return other()\ndef other(): ...", set()),
        ("def used(): ...\ndef other(): return other()", {"outlast.a.other"}),
        (
            "class A:\n    def other(self): return other()\nused = A().other\ndef other(): ...",
            set(),
        ),
        ("def used(): ...\nclass Other:\n    def get(self): ...", {"outlast.a.Other"}),
        ("class Used:\n    def get(self): ...\nused = Used()", {"outlast.a.Used.get"}),
        ("class Used:\n    def get(self): ...\nused = Used().get()", set()),
        (
            "class Used:\n    def get(self): return self.get()\nused = Used()",
            {"outlast.a.Used.get"},
        ),
        ("class Used:\n    def __len__(self): ...\nused = Used()", set()),
        ("class Used:\n    def get(self): ...\nused = getattr(Used(), 'get')", set()),
        ("def used():\n    def inner(): ...", {"outlast.a.used.inner"}),
        ("def used():\n    def inner(): ...\n    return inner", set()),
        ("used: 'Hidden | None'\nclass Hidden: ...", set()),
        ("used = 'outlast.a:command'\ndef command(): ...", set()),
        ("used = 'command'\ndef command(): ...", {"outlast.a.command"}),
    ],
)
def test_what_nothing_uses(text: str, unused: set[str]) -> None:
    assert set(uncalled([module("a", text), USER], [])) - {"outlast.a.Other.get"} == unused


def test_what_is_promised_to_users() -> None:
    """With its public methods; what the API has beside that is not."""
    text = "class Told:\n    def get(self): ...\n    def _hidden(self): ...\nclass Other: ..."
    package = Module("outlast", "src/outlast/__init__.py", ast.parse("__all__ = ['Told']"))
    unused = {"outlast.api.a.Told._hidden", "outlast.api.a.Other"}
    assert set(uncalled([package, module("api.a", text)], [])) == unused
    everywhere = {"outlast.core.a.Told", "outlast.core.a.Told.get", "outlast.core.a.Told._hidden"}
    assert everywhere < set(uncalled([package, module("core.a", text)], []))


def test_a_name_is_that_of_its_module() -> None:
    """`read` of one module is not used because another module has its own, or is imported."""
    one = module("one", "def read(): ...\ndef write(): ...")
    two = module("two", "from outlast import one\none.write()\ndef read(): ...\nread()")
    assert set(uncalled([one, two], [])) == {"outlast.one.read"}
    assert set(uncalled([one, two], ["outlast.one:read"])) == set()


def test_what_a_package_hands_on_is_used_where_it_is_taken() -> None:
    door = Module(
        "outlast.room",
        "src/outlast/room/__init__.py",
        ast.parse("from outlast.room.inside import one, two"),
    )
    inside = module("room.inside", "def one(): ...\ndef two(): ...")
    user = module("user", "from outlast.room import one\none()")
    assert set(uncalled([door, inside, user], [])) == {"outlast.room.inside.two"}


def test_rooms_have_few_modules() -> None:
    room = [module(f"room.m{number}") for number in range(3)]
    room.append(Module("outlast.room", "src/outlast/room/__init__.py", ast.parse("")))
    assert rooms.crowded([*room, module("room.inner.m")], most=3) == {}
    assert set(rooms.crowded(room, most=2)) == {"src/outlast/room"}


def test_a_class_name_is_given_once() -> None:
    one, two = module("one", "class A: ...\nclass B: ..."), module("two", "class A: ...")
    assert set(rooms.twice([one, two])) == {"A"}


def test_an_entry_that_allows_nothing_is_an_error() -> None:
    findings = {"a": "message of a", "b": "message of b"}
    assert apply(findings, {"a": "a reason"}) == ["message of b"]
    assert len(apply(findings, {"a": "a reason", "b": "another", "c": "a third"})) == 1
    assert len(apply(findings, {"a": "a reason", "b": ""})) == 1


RULES = words.Rules(
    words=(words.Word.of("lanes?", "source"), words.Word.of("Gather", "coordinator")),
    kept=(("native/*", "lane"),),
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a lane, LANES and_lane", ["lane", "LANES", "lane"]),
        ("class SourceLane", ["Lane"]),
        ("planes, lanes2", ["lanes"]),
        ("Gather, gather", ["Gather"]),
        ("class GatherState", ["Gather"]),
    ],
)
def test_retired_words(text: str, found: list[str]) -> None:
    assert [use.text for use in words.uses_in("src/outlast/room/a.py", text, RULES)] == found


def test_a_use_is_named_unless_it_means_something_else_there() -> None:
    paths = ("src/outlast/room/a.py", "native/a.cpp")
    found = [use for path in paths for use in words.uses_in(path, "a lane\n", RULES)]
    (message,) = words.retired(found)
    assert message.startswith("src/outlast/room/a.py:1: 'lane'")


def test_all_of_src_is_read() -> None:
    found = {module.path for module in modules()}
    package = Path(ROOT, "src", "outlast")
    read = {path for path in package.rglob("*.py") if APART.isdisjoint(path.parts)}
    assert found == {path.relative_to(ROOT).as_posix() for path in read}
