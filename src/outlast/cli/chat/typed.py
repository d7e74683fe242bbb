"""What a person types: messages of one line or several, and commands of the chat."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

COMMANDS: Final = {
    "/help": "show this list",
    "/clear": "forget the conversation; the system prompt stays",
    "/system": "TEXT: set the system prompt; without TEXT, show it",
    "/save": "FILE: write the conversation to a new file (.json: as JSON, else as text)",
    "/bye": "end the chat, as Ctrl-D does",
}
"""The commands of the chat, and what each does."""
_FIRST: Final = "> "
_NEXT: Final = "... "
_BLOCK: Final = '"""'


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """A line that begins with a slash: its first word, and the rest."""

    name: str
    argument: str

    @property
    def known(self) -> bool:
        return self.name in COMMANDS


def parse_command(line: str) -> SlashCommand | None:
    """The command in `line`; None for what goes to the model."""
    if not line.startswith("/"):
        return None
    name, _, argument = line.partition(" ")
    return SlashCommand(name.rstrip(), argument.strip())


class Lines:
    """Puts typed lines together. `read` reads one behind a prompt; `more` tells whether the next
    has come already, which makes a paste one message.
    """

    def __init__(self, read: Callable[[str], str], more: Callable[[], bool]) -> None:
        self._read = read
        self._more = more
        self._waiting: deque[str] = deque()

    def next(self) -> str | SlashCommand:
        """The next message, or command. Raises what `read` raises."""
        first = self._waiting.popleft() if self._waiting else self._read(_FIRST)
        command = parse_command(first)
        if command is not None:
            return command
        if first.lstrip().startswith(_BLOCK):
            return self._block(first.lstrip().removeprefix(_BLOCK))
        lines = [first]
        while True:
            if lines[-1].endswith("\\"):
                lines[-1] = lines[-1][:-1]
            elif not self._more():
                return "\n".join(lines)
            line = self._read(_NEXT)
            command = parse_command(line)
            if command is not None and command.known:
                self._waiting.append(line)
                return "\n".join(lines)
            lines.append(line)

    def _block(self, line: str) -> str:
        lines = []
        while not line.rstrip().endswith(_BLOCK):
            lines.append(line)
            line = self._read(_NEXT)
        lines.append(line.rstrip().removesuffix(_BLOCK))
        return "\n".join(lines).strip("\n")

    def drop(self) -> None:
        """Forgets lines that were read and not taken."""
        self._waiting.clear()
