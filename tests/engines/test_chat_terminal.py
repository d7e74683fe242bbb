"""`outlast run` at a terminal, as a person uses it: a real one, a real process, a real model."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.call import COMMAND, environment, outlast
from tests.engines.gguf_files import Parts, string

PATIENCE = 30.0
# The terminal becomes the process's own, so that its Ctrl-C is a signal.
LAUNCHER = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
PROMPT = "> "
DONE = re.compile(r"\[\d+ tokens, ")


class Terminal:
    """What a person sees and presses."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self.master = master
        self.process = process
        self.seen = ""

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def until(self, ready: Callable[[str], bool]) -> str:
        """What is shown from here until `ready` says that it is enough. A long answer takes its
        time: only silence is in vain.
        """
        while not ready(self.seen):
            if not select.select([self.master], [], [], PATIENCE)[0]:
                pytest.fail(f"waited in vain; shown: {self.seen!r}")
            if not self._read():
                pytest.fail(f"the chat has ended; shown: {self.seen!r}")
        seen, self.seen = self.seen, ""
        return seen

    def prompt(self) -> str:
        return self.until(lambda seen: seen.endswith(PROMPT))

    def streaming(self) -> str:
        """What is shown until some of an answer is."""
        return self.until(lambda seen: len(seen.partition("\n")[2]) > 20)

    def end(self) -> tuple[int, str]:
        """The exit status, and what was shown last."""
        while select.select([self.master], [], [], PATIENCE)[0] and self._read():
            pass
        return self.process.wait(PATIENCE), self.seen

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def _read(self) -> bool:
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the other side is closed
            return False
        self.seen += data.decode("utf-8", "replace")
        return bool(data)


@pytest.fixture(scope="module")
def home(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the small model in its archive."""
    folder = tmp_path_factory.mktemp("chat")
    outlast("add", weights, "--as", "me/model", "--form", "plain", home=folder).ok()
    return folder


@contextlib.contextmanager
def chatting(home: Path, *options: str, term: str = "dumb") -> Iterator[Terminal]:
    master, slave = pty.openpty()
    command = [*COMMAND, "run", "me/model", "--threads", "1", "--temperature", "0", *options]
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, *command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment(home, TERM=term, INPUTRC="/dev/null"),
        cwd=home,
    )
    # The other side stays open here, so that the terminal's settings can be seen to the end.
    terminal = Terminal(master, process)
    try:
        assert terminal.echoes()
        terminal.prompt()
        yield terminal
        assert process.poll() is not None
        os.set_blocking(master, False)
        assert terminal.echoes()
    finally:
        process.kill()
        process.wait()
        os.close(slave)
        os.close(master)


def bye(terminal: Terminal) -> None:
    terminal.press("/bye\r")
    assert terminal.process.wait(PATIENCE) == 0


def saved(terminal: Terminal, home: Path, name: str) -> list[tuple[str, str]]:
    """The turns of the conversation so far."""
    terminal.press(f"/save {name}.json\r")
    assert "saved to" in terminal.prompt()
    turns = json.loads((home / f"{name}.json").read_text())["messages"]
    return [(turn["role"], turn["content"]) for turn in turns]


def test_ctrl_c_ends_the_answer_and_not_the_chat(home: Path) -> None:
    with chatting(home) as terminal:
        for number in range(2):
            terminal.press("Tell me of the sea.\r")
            terminal.streaming()
            terminal.press("\x03")
            assert "[stopped]" in terminal.prompt()
            turns = saved(terminal, home, f"stopped{number}")
            assert [role for role, _ in turns] == ["user", "assistant"] * (number + 1)
            assert turns[-1][1]
        bye(terminal)


def test_ctrl_c_at_the_prompt(home: Path) -> None:
    with chatting(home, "--max-tokens", "4") as terminal:
        terminal.press("half a li")
        terminal.until(lambda seen: seen.endswith("half a li"))
        terminal.press("\x03")
        assert "/bye" in terminal.prompt()
        terminal.press("a whole line\r")
        assert DONE.search(terminal.prompt())
        assert saved(terminal, home, "prompt")[0] == ("user", "a whole line")
        terminal.press("\x03")
        assert "/bye" in terminal.prompt()
        terminal.press("\x03")
        assert terminal.process.wait(PATIENCE) == 0


def test_ctrl_d_ends_the_chat(home: Path) -> None:
    with chatting(home) as terminal:
        terminal.press("\x04")
        assert terminal.process.wait(PATIENCE) == 0


def test_commands_of_the_chat(home: Path) -> None:
    with chatting(home, "--max-tokens", "4", "--system", "Be brief.") as terminal:
        terminal.press("/help\r")
        shown = terminal.prompt()
        assert all(name in shown for name in ("/clear", "/system", "/save", "/bye"))
        terminal.press("/nothing at all\r")
        shown = terminal.prompt()
        assert "unknown command /nothing" in shown
        assert not DONE.search(shown)
        terminal.press(" /etc/hosts?\r")
        assert DONE.search(terminal.prompt())
        turns = saved(terminal, home, "commands")
        assert turns[:2] == [("system", "Be brief."), ("user", " /etc/hosts?")]
        terminal.press("/save commands.json\r")
        assert "exists" in terminal.prompt()
        terminal.press("/clear\r")
        terminal.prompt()
        terminal.press("/system Be long.\r")
        terminal.prompt()
        assert saved(terminal, home, "cleared") == [("system", "Be long.")]
        bye(terminal)


def test_messages_of_several_lines(home: Path) -> None:
    with chatting(home, "--max-tokens", "4") as terminal:
        for keys, message in (
            ('"""\ra\r/bye\r"""\r', "a\n/bye"),
            ("b\\\rc\r", "b\nc"),
            ("d\ne\nf\n", "d\ne\nf"),
        ):
            terminal.press(keys)
            terminal.until(lambda seen: bool(DONE.search(seen)) and seen.endswith(PROMPT))
            name = f"lines{ord(message[0])}"
            assert saved(terminal, home, name)[-2] == ("user", message)
        bye(terminal)


def test_a_paste_that_the_terminal_marks(home: Path) -> None:
    with chatting(home, "--max-tokens", "4", term="xterm") as terminal:
        terminal.press("\x1b[200~a\nb\x1b[201~\r")
        terminal.until(lambda seen: bool(DONE.search(seen)) and PROMPT in seen.split("tokens")[-1])
        terminal.press("/save marked.json\r")
        terminal.until(lambda seen: "saved to" in seen and PROMPT in seen.split("saved to")[-1])
        turns = json.loads((home / "marked.json").read_text())["messages"]
        assert turns[0]["content"] == "a\nb"
        bye(terminal)


def test_what_is_typed_meanwhile_waits_for_the_prompt(home: Path) -> None:
    with chatting(home, "--max-tokens", "250") as terminal:
        terminal.press("Tell me of the sea.\r")
        terminal.streaming()
        assert not terminal.echoes()
        terminal.press("typed ahead")
        answer = terminal.until(lambda seen: seen.endswith("typed ahead"))
        before = answer[: answer.rindex(PROMPT)]
        assert DONE.search(before)
        assert "typed" not in before
        terminal.press("\x03")
        terminal.prompt()
        bye(terminal)


def test_the_terminal_is_restored_by_a_chat_that_is_ended(home: Path) -> None:
    for streams in (True, False):
        with chatting(home) as terminal:
            if streams:
                terminal.press("Tell me of the sea.\r")
                terminal.streaming()
                assert not terminal.echoes()
            os.kill(terminal.process.pid, signal.SIGTERM)
            assert terminal.process.wait(PATIENCE) == 130


def test_an_error_of_the_engine_does_not_end_the_chat(home: Path) -> None:
    with chatting(home, "--max-tokens", "4", "--context", "300") as terminal:
        terminal.press("sea " * 500 + "\r")
        assert "error[engine]" in terminal.prompt()
        terminal.press("sea\r")
        assert DONE.search(terminal.prompt())
        assert [role for role, _ in saved(terminal, home, "error")] == ["user", "assistant"]
        bye(terminal)


def test_what_a_file_says_of_itself_does_not_steer_the_terminal(
    home: Path, parts: Parts, tmp_path: Path
) -> None:
    kind = string("gpt\x1b[2J\x9b2J\u202e9")
    hostile = Parts({**parts.pairs, "general.architecture": kind}, parts.tensors, parts.data)
    path = hostile.write(tmp_path / "\u202egguf.gguf")
    outlast("add", path, "--as", "me/hostile", "--form", "plain", home=home).ok()
    call = outlast("run", "me/hostile", "Hi", "--verbose", home=home)
    assert "gpt" in call.failed("engine")
    shown = [line for line in call.err.splitlines() if "unknown model architecture" in line]
    assert any("gpt\ufffd[2J" in line for line in shown)
    assert not set("\x1b\x9b\u202e") & set(call.out + call.err)
