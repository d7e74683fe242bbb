"""The turns of a chat, apart from where they are shown."""

import json
from pathlib import Path

from outlast.core.errors import StorageError
from outlast.engines.base import ChatMessage


class Conversation:
    """A system prompt, if there is one, and turns of the user and the model by turns."""

    def __init__(self, system: str | None) -> None:
        self.system = system or None
        self._turns: list[ChatMessage] = []

    @property
    def messages(self) -> list[ChatMessage]:
        head = [ChatMessage("system", self.system)] if self.system else []
        return [*head, *self._turns]

    def asked(self, prompt: str) -> None:
        self._turns.append(ChatMessage("user", prompt))

    def answered(self, text: str) -> None:
        """The answer to what was asked last. Where there is none, the question goes, too: two of
        one side in a row are what many chat templates refuse.
        """
        if text:
            self._turns.append(ChatMessage("assistant", text))
        else:
            self._turns.pop()

    def clear(self) -> None:
        self._turns.clear()

    def save(self, path: Path) -> None:
        """Writes the conversation to a new file. Raises :class:`StorageError`."""
        if path.suffix.lower() == ".json":
            turns = [{"role": m.role, "content": m.content} for m in self.messages]
            text = json.dumps({"messages": turns}, ensure_ascii=False, indent=2) + "\n"
        else:
            text = "\n\n".join(f"## {m.role}\n\n{m.content.strip()}" for m in self.messages) + "\n"
        try:
            with path.open("x", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except FileExistsError:
            raise StorageError(f"{path} exists", hint="choose another name") from None
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise StorageError(
                f"cannot write {path}: {why}", hint="choose another place"
            ) from error
