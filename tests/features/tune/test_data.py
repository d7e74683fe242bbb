"""Training data is checked before anything is loaded, and each problem has its line."""

import json
from pathlib import Path
from typing import Any

import pytest

from outlast.core.digest import Digest
from outlast.core.errors import BadDataError, NotFoundError, UsageError
from outlast.features.tune import data
from outlast.features.tune.data import Row, read_rows, split


def chat(*turns: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(turns)]}


def written(tmp_path: Path, *rows: Any) -> Path:
    path = tmp_path / "data.jsonl"
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_rows_of_each_kind(tmp_path: Path) -> None:
    rows = read_rows(written(tmp_path, chat("a", "b"), b"", chat("c", "d", "e", "f")))
    assert [row.line for row in rows.rows] == [1, 3]
    assert rows.rows[1].messages[-1] == ("assistant", "f")
    assert rows.digest == Digest.of((tmp_path / "data.jsonl").read_bytes())
    done = read_rows(written(tmp_path, {"prompt": "a", "completion": "b", "id": 3})).rows[0]
    assert [(s.text, s.learned) for s in done.segments] == [("a", False), ("b", True)]
    assert read_rows(written(tmp_path, {"prompt": "", "completion": "b"})).rows[0].segments
    assert read_rows(written(tmp_path, {"text": "x"})).rows[0].segments[0].learned


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b"{", "not JSON"),
        (b'{"text": "a", "text": "b"}', "key given twice"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b'{"text": "\\ud800"}', "half of a character"),
        (b"[]", "not a JSON object"),
        ({"input": "a"}, "neither messages"),
        ({"text": 3}, "has no text"),
        ({"text": " "}, "is empty"),
        ({"prompt": "a"}, "completion has no text"),
        ({"prompt": "a", "completion": ""}, "completion is empty"),
        ({"messages": []}, "not a list"),
        ({"messages": ["hi"]}, "message 1 is not an object"),
        (chat("a"), "the last message is not the assistant's"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "speaks before the user"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "the role 'tool'"),
        (
            {"messages": [*chat("a")["messages"], {"role": "system", "content": "s"}]},
            "a system message is not the first",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            "message 1 has no text",
        ),
        (
            {"messages": [{"role": "user", "content": "a", "tool_calls": []}]},
            "tool_calls",
        ),
        ({**chat("a", "b"), "tools": []}, "has tools"),
        (b'{"text": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "JSON"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(BadDataError) as caught:
        read_rows(written(tmp_path, b"", row, b"{"))
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].startswith("line 2: ")
    assert said in caught.value.problems[0]
    assert "line 2: " in str(caught.value)
    assert "line 3: " in str(caught.value)


def test_rows_of_two_kinds(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match=r"line 2: has text, and earlier rows have messages"):
        read_rows(written(tmp_path, chat("a", "b"), {"text": "c"}))


def test_the_same_row_counts_once(tmp_path: Path) -> None:
    rows = read_rows(written(tmp_path, {"text": "a"}, {"text": "b"}, {"text": "a", "id": 1}))
    assert rows.repeated == [3]
    assert len(rows.rows) == 2
    assert rows.extra == {"id"}


def test_many_problems_are_counted(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="and 10 more lines") as caught:
        read_rows(written(tmp_path, *[b"{"] * 30))
    assert len(caught.value.problems) == 30


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, {"text": "a" * 100}, {"text": "b"})
    monkeypatch.setattr(data, "MAX_LINE", 50)
    with pytest.raises(BadDataError, match="line 1 has more than 50 bytes"):
        read_rows(path)
    monkeypatch.setattr(data, "MAX_LINE", 500)
    monkeypatch.setattr(data, "MAX_ROWS", 1)
    with pytest.raises(BadDataError, match="more than 1 rows"):
        read_rows(path)
    monkeypatch.setattr(data, "MAX_FILE", 20)
    with pytest.raises(BadDataError, match="the bound is 20"):
        read_rows(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_rows(tmp_path / "nothing")
    with pytest.raises(BadDataError, match="no rows"):
        read_rows(written(tmp_path))


def _rows(*names: str) -> list[Row]:
    return [Row(n, Digest.of(name.encode()).hex.encode()) for n, name in enumerate(names)]


def test_the_split_follows_from_the_rows_alone() -> None:
    rows = _rows(*"abcdefghij")
    learn, held = split(rows, 0.2)
    assert (len(learn), len(held)) == (8, 2)
    again = split(rows[::-1], 0.2)[1]
    assert {row.key for row in again} == {row.key for row in held}
    assert split(rows, 0) == (rows, [])
    assert len(split(rows, 0.001)[1]) == 1
    assert len(split(_rows(*map(str, range(3000))), 0.5)[1]) == data.MOST_HELD_OUT
    with pytest.raises(UsageError, match="too few"):
        split(rows[:1], 0.1)
