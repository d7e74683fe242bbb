"""What is typed into a chat, before there is a terminal or a model."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.cli.chat.conversation import Conversation
from outlast.cli.chat.typed import Lines, SlashCommand
from outlast.core.errors import StorageError


def typed(*lines: str, pasted: int = 0) -> list[str | SlashCommand]:
    """What comes of `lines`; `pasted` of them are there as soon as the first is."""
    left = list(lines)
    together = [pasted - 1]

    def read(prompt: str) -> str:
        assert prompt in ("> ", "... ")
        if not left:
            raise EOFError
        return left.pop(0)

    def more() -> bool:
        together[0] -= 1
        return together[0] >= 0

    def every() -> Iterator[str | SlashCommand]:
        found = Lines(read, more)
        while True:
            try:
                yield found.next()
            except EOFError:
                return

    return list(every())


def test_lines_and_messages_of_several_lines() -> None:
    assert typed("a", "", " b ") == ["a", "", " b "]
    assert typed("a\\", "b\\", "c", "d") == ["a\nb\nc", "d"]
    assert typed('"""', "a", "/bye", "", "b", '"""', "c") == ["a\n/bye\n\nb", "c"]
    assert typed('"""a', 'b"""', "c") == ["a\nb", "c"]
    assert typed('"""a"""', "b") == ["a", "b"]
    assert typed('"""', '"""', "b") == ["", "b"]


def test_the_input_ends_within_a_message() -> None:
    assert typed('"""', "a") == []
    assert typed("a\\") == []


def test_a_paste_is_one_message() -> None:
    assert typed("def f():", "    return 1", "", "x", pasted=3) == ["def f():\n    return 1\n", "x"]
    assert typed("see", "/usr/bin/x", "y", pasted=2) == ["see\n/usr/bin/x", "y"]


def test_a_command_that_was_typed_ahead_is_no_part_of_a_message() -> None:
    assert typed("a", "/bye", pasted=2) == ["a", SlashCommand("/bye", "")]
    assert typed("/clear", "a", pasted=1) == [SlashCommand("/clear", ""), "a"]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("/help", SlashCommand("/help", "")),
        ("/system  Be brief. ", SlashCommand("/system", "Be brief.")),
        ("/nothing x", SlashCommand("/nothing", "x")),
        ("/", SlashCommand("/", "")),
        ("/help\t", SlashCommand("/help", "")),
    ],
)
def test_commands(line: str, command: SlashCommand) -> None:
    assert typed(line) == [command]


def test_a_space_sends_a_slash() -> None:
    assert typed(" /etc/passwd?") == [" /etc/passwd?"]


def test_turns_alternate() -> None:
    talk = Conversation("Be brief.")
    talk.asked("a")
    talk.answered("b")
    talk.asked("c")
    talk.answered("")
    assert [(m.role, m.content) for m in talk.messages] == [
        ("system", "Be brief."),
        ("user", "a"),
        ("assistant", "b"),
    ]
    talk.clear()
    assert [m.role for m in talk.messages] == ["system"]


def test_a_conversation_is_saved_and_nothing_overwritten(tmp_path: Path) -> None:
    talk = Conversation(None)
    talk.asked("a \ud800")
    talk.answered("b")
    talk.save(tmp_path / "x.md")
    assert (tmp_path / "x.md").read_text() == "## user\n\na ?\n\n## assistant\n\nb\n"
    talk.save(tmp_path / "x.json")
    roles = [turn["role"] for turn in json.loads((tmp_path / "x.json").read_text())["messages"]]
    assert roles == ["user", "assistant"]
    with pytest.raises(StorageError, match="exists"):
        talk.save(tmp_path / "x.md")
    for bad in (tmp_path / "none" / "x", tmp_path, Path("\0")):
        with pytest.raises(StorageError):
            talk.save(bad)
