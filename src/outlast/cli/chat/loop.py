"""Asks the engine, and shows its answers: the answer on stdout, everything else on stderr."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from outlast.cli.chat.conversation import Conversation
from outlast.cli.chat.terminal import (
    Interrupts,
    edit_lines,
    more_is_typed,
    read_line,
    unseen_input,
)
from outlast.cli.chat.typed import COMMANDS, Lines, SlashCommand
from outlast.cli.documents.running import AnswerDocument, UsagePart
from outlast.cli.edge import Session
from outlast.cli.screen.render import print_document
from outlast.core.cancel import Cancel
from outlast.core.errors import Cancelled, EngineError, OutlastError, one_line
from outlast.core.printable import Printable
from outlast.engines.base import Delta, Engine, Sampling, Usage


class Chat:
    """A conversation with an engine."""

    def __init__(
        self, call: Session, engine: Engine, sampling: Sampling, system: str | None
    ) -> None:
        self._call = call
        self._engine = engine
        self._sampling = sampling
        self._conversation = Conversation(system)

    def once(self, prompt: str) -> None:
        """Answers one prompt."""
        self._answer(prompt, self._call.control.cancel)

    def loop(self) -> None:
        """Answers until the user ends the chat. Ctrl-C ends an answer; at the prompt it drops what
        was typed, and the second in a row ends the chat.
        """
        edit_lines()
        lines = Lines(read_line, more_is_typed)
        self._call.say("/help lists commands; Ctrl-D ends the chat")
        dropped = False
        with Interrupts(self._call.control.cancel) as interrupts:
            while True:
                try:
                    if not self._step(lines, interrupts):
                        return
                    dropped = False
                except KeyboardInterrupt:
                    lines.drop()
                    self._call.say("")
                    if dropped:
                        return
                    dropped = True
                    self._call.say("Ctrl-C again, Ctrl-D or /bye ends the chat")

    def _step(self, lines: Lines, interrupts: Interrupts) -> bool:
        """Takes what is typed next; False ends the chat."""
        try:
            typed = lines.next()
        except EOFError:
            self._call.say("")
            return False
        if isinstance(typed, SlashCommand):
            self._obey(typed)
            return typed.name != "/bye"
        if typed.strip():
            self._turn(typed, interrupts)
        return True

    def _turn(self, prompt: str, interrupts: Interrupts) -> None:
        """One prompt and its answer. Neither Ctrl-C nor the engine's error ends the chat."""
        try:
            with unseen_input(), interrupts.answering() as cancel:
                self._answer(prompt, cancel)
        except Cancelled:
            self._call.control.cancel.check()
            self._call.say("[stopped]")
        except EngineError as error:
            self._complain(error)

    def _complain(self, error: OutlastError) -> None:
        hint = f" (hint: {error.hint})" if error.hint else ""
        self._call.say(f"error[{error.code}]: {error}{hint}")

    def _obey(self, command: SlashCommand) -> None:
        match command.name:
            case "/help":
                width = max(map(len, COMMANDS))
                for name, text in COMMANDS.items():
                    self._call.say(f"{name:{width}}  {text}")
                self._call.say(
                    'Ctrl-C ends an answer. A message of several lines: paste it, put """ before '
                    "and after it, or end lines with \\. A space first sends a slash to the model."
                )
            case "/clear":
                self._conversation.clear()
                self._call.say("the conversation is forgotten")
            case "/system":
                self._set_system(command.argument)
            case "/save":
                self._save(command.argument)
            case "/bye":
                pass
            case name:
                self._call.say(
                    f"unknown command {one_line(name, 60)}: nothing was sent; /help lists the "
                    "commands, and a space before the slash sends the line"
                )

    def _set_system(self, text: str) -> None:
        if text:
            self._conversation.system = text
            self._call.say("the system prompt is set")
        else:
            self._call.say(self._conversation.system or "there is no system prompt")

    def _save(self, name: str) -> None:
        if not name:
            self._call.say("/save needs the name of a file")
            return
        try:
            self._conversation.save(Path(name).expanduser())
        except (OutlastError, RuntimeError) as error:  # RuntimeError: a home that is not known
            self._call.say(one_line(str(error)))
        else:
            self._call.say(f"saved to {one_line(name)}")

    def _answer(self, prompt: str, cancel: Cancel) -> None:
        self._conversation.asked(prompt)
        parts: list[str] = []
        usage = None
        shown = _ShownAnswer(silent=self._call.as_json)
        try:
            for part in self._engine.chat(self._conversation.messages, self._sampling, cancel):
                if isinstance(part, Usage):
                    usage = part
                else:
                    shown.add(part)
                    parts += [] if part.thought else [part.text]
        finally:
            shown.end()
            self._conversation.answered("".join(parts))
        if self._call.as_json:
            took = None if usage is None else UsagePart(**asdict(usage))
            print_document(AnswerDocument(text="".join(parts), usage=took))
        elif usage is not None:
            self._call.say(
                f"[{usage.completion_tokens} tokens, {usage.tokens_per_second:.1f} per second"
                f"{', cut at the limit' if usage.finish == 'length' else ''}]"
            )


class _ShownAnswer:
    """An answer on the screen, as it comes."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._streams = {True: Printable(), False: Printable()}

    def add(self, part: Delta) -> None:
        self._write(part.thought, self._streams[part.thought].feed(part.text))

    def end(self) -> None:
        for thought, stream in self._streams.items():
            self._write(thought, stream.end())
        self._write(thought=False, text="\n")

    def _write(self, thought: bool, text: str) -> None:
        if not self._silent and text:
            stream = sys.stderr if thought else sys.stdout
            stream.write(_fitting(stream, text))
            stream.flush()


def _fitting(stream: TextIO, text: str) -> str:
    """`text` without the characters that the stream's encoding does not have."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
