"""The checks of the documents find what they are for; and the documents keep their own rules."""

import re
from pathlib import Path

import pytest

from docs.checks import (
    dead_links,
    dead_names,
    dead_public_names,
    documents,
    said_twice,
    thread_drift,
    thread_places,
)
from docs.generate import decisions, layer_table
from docs.parts import with_part

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("[a](there.md) [b](there.md#a-heading-of-two--parts) [c](#here)\n## Here\n", []),
        ("[a](gone.md)", ["gone.md"]),
        ("![a](gone.svg)", ["gone.svg"]),
        ("[a](there.md#gone)", ["there.md#gone"]),
        ("[a](#gone)", ["#gone"]),
        ("[a](https://host.example/gone.md)", []),
        ("```\n[a](gone.md)\n```\n", []),
    ],
)
def test_links(text: str, dead: list[str], tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# Title\n\n## A heading of two & parts\n")
    page = tmp_path / "page.md"
    page.write_text(text)
    assert list(dead_links(page, text)) == dead


@pytest.mark.parametrize(
    "word",
    [
        "store.archive",
        "store.archive.Archive.summaries",
        "outlast.store.archive.Archive",
        "swarm.lan",
        "core.errors.all_errors()",
        "store/archive.py",
        "src/outlast/store/archive.py",
        "fetch.download.Download.changed",
        "cli.main.COMMANDS",
        "core.names.RepoId.name",
        "features.FEATURES",
        "model.example",
        "node.py",
    ],
)
def test_names_that_exist(word: str) -> None:
    assert list(dead_names(ROOT, f"a `{word}` b\n\n```\n{word} ── x\n```\n")) == []


@pytest.mark.parametrize(
    "word",
    [
        "store.gone",
        "store.archive.Gone",
        "store.archive.Archive.gone",
        "store/gone.py",
        "features.GONE",
        "swarm.lan.gone",
    ],
)
def test_names_that_are_gone(word: str) -> None:
    assert list(dead_names(ROOT, f"a `{word}` b")) == [word]


@pytest.mark.parametrize(
    ("text", "twice"),
    [
        ("| `a.b` | one |\n| `a.c` | one |\n\n| `a.b` | another table |\n", []),
        ("| `a.b` | one |\n| `a.c` | two |\n| `a.b` | more |\n", ["| `a.b` | more |"]),
        ("| 503 | one |\n| 503 | two |\n| 503 | one |\n", ["| 503 | one |"]),
        ("- one\n- two\n- one\n", ["- one"]),
        ("```\n- one\n- one\n```\n", []),
    ],
)
def test_what_is_said_twice(text: str, twice: list[str]) -> None:
    assert list(said_twice(text)) == twice


def test_names_in_diagrams() -> None:
    assert list(dead_names(ROOT, "```\nstore.gone ─┬ store.archive\n```\n")) == ["store.gone"]
    assert list(dead_names(ROOT, "```toml\nhome = store.gone\n```\n")) == []


def test_public_names_of_rooms(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("class Here:\n    pass\n")
    page = tmp_path / "__init__.py"
    page.write_text('"""A room.\n\nPublic names: `one.Here`, `one.Gone`, `Other`.\n"""\n')
    assert list(dead_public_names(page)) == ["one.Gone"]


CODE = """
import threading
from concurrent.futures import ThreadPoolExecutor

class Room:
    def __init__(self):
        self._lock = threading.Lock()
        self.changed: object = threading.Condition()

    def start(self):
        threading.Thread(target=print).start()

def work():
    done = threading.RLock()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(print)
"""


def test_places_of_threads_and_locks(tmp_path: Path) -> None:
    package = tmp_path / "src" / "outlast" / "room"
    package.mkdir(parents=True)
    (package / "one.py").write_text(CODE)
    places = {"Room._lock", "Room.changed", "Room.start", "work.done", "work"}
    assert thread_places(package.parent) == {f"room.one.{place}" for place in places}
    rows = [f"| `room.one.{place}` | x |" for place in sorted(places)]
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "threads.md"
    page.write_text("\n".join(rows))
    assert thread_drift(tmp_path) == []
    page.write_text("\n".join([*rows[1:], "| `room.one.Gone._lock` | x |"]))
    assert thread_drift(tmp_path) == [
        "docs/threads.md: no row for room.one.Room._lock",
        "docs/threads.md: nothing makes room.one.Gone._lock",
    ]


def test_what_is_generated_goes_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: written by `make docs` -->\nold\n<!-- end -->\nz\n")
    text = with_part(page.read_text(), "x", "new")
    assert "old" not in text
    assert text.startswith("a\n")
    assert text.endswith("-->\nz\n")
    page.write_text(text)
    assert with_part(page.read_text(), "x", "new") == text
    with pytest.raises(SystemExit):
        with_part(page.read_text(), "y", "new")


def test_the_table_has_every_room() -> None:
    table = layer_table()
    rooms = {p.parent.name for p in (ROOT / "src" / "outlast").glob("*/__init__.py")}
    named = set(re.findall(r"^\| \d+ \| `(\w+)` \| \S.+ \|$", table, re.MULTILINE))
    assert rooms <= named


def test_every_decision_has_a_date_and_a_status() -> None:
    rows = decisions().splitlines()[2:]
    assert len(rows) >= 16
    for row in rows:
        assert re.search(r"\| \d{4}-\d\d-\d\d \| (accepted|superseded by \[\d{4}\])", row), row


def test_the_glossary_is_short() -> None:
    words = (ROOT / "ARCHITECTURE.md").read_text().split("## Words")[1].split("\n## ")[0]
    assert 0 < len(re.findall(r"^\| [a-z ]+ \|", words, re.MULTILINE)) - 1 <= 15


def test_the_index_names_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {
        (index.parent / link).resolve()
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", index.read_text())
    }
    pages = {
        path.resolve()
        for path in documents(ROOT)
        if path != index and not re.match(r"\d{4}-", path.name)
    }
    assert pages - linked == set()
