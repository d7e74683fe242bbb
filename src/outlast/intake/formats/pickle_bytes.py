"""Tells a pickle by its first bytes: they are walked, step by step, and no step is carried out."""

import pickletools
import re
from dataclasses import dataclass
from typing import Final

from outlast.intake.content import Read

WINDOW: Final = 64 * 1024
"""Bytes of a file that are walked. What comes later cannot make the beginning another format."""
_FEW: Final = 3
"""Steps to an end that tell a pickle without imports from two letters of something else."""
_IMPORTS: Final = {"GLOBAL": 1, "INST": 1, "STACK_GLOBAL": 3}
"""Operations by which a pickle names what is to run, which none runs without; and how many steps
there are with it, at least: the last one takes two texts from before. (EXT1 to EXT4 name what the
program itself registered under a number; none that we know registers anything.)
"""
_BINARY: Final = re.compile(rb"\x80[\x00-\x05]")
_IDENTIFIER: Final = rb"[A-Za-z_][\w.<>]*"
_NUMBER: Final = re.compile(rb"-?\d+L?\Z")
_TEXTS: Final = {
    "GLOBAL": re.compile(_IDENTIFIER),
    "INST": re.compile(_IDENTIFIER),
    "STRING": re.compile(rb"(?:'.*'|\".*\")", re.DOTALL),
    "INT": _NUMBER,
    "LONG": _NUMBER,
    "PUT": _NUMBER,
    "GET": _NUMBER,
    "FLOAT": re.compile(rb"[-+.\dA-Za-z]+"),
}
"""What the lines after an operation look like; of others nothing is said."""
_WIDTHS: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
"""Bytes of the length that goes before an argument."""
_CALLS: Final = frozenset({"REDUCE", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
_ARGUMENTS: Final = frozenset(
    {
        *("TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "DICT"),
        *("GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    }
)
"""What may come before a call: its arguments. A text that goes on like that we met nowhere."""
_LINE: Final = 16 << 20
"""Bytes of a line that are read to its end. The largest header of safetensors that we met has
0.5 MB, and its writers make lengths that begin with none of the letters of such lines."""
_NO_END: Final = -1
_MOST_STEPS: Final = 100_000
"""Steps after which nothing else than a pickle goes on. A guess; weights come to 4 or so."""
_STEPS: Final = {info.code.encode("latin-1"): info for info in pickletools.opcodes}


@dataclass(slots=True)
class _Steps:
    """How many steps there are, whether one imports, whether one after that calls, whether they
    come to their end, and whether one goes on beyond the bytes that are here, but not beyond the
    file.
    """

    steps: int = 0
    imports: bool = False
    calls: bool = False
    stopped: bool = False
    cut: bool = False


@dataclass(slots=True)
class _WalkedBytes:
    """The bytes of a file around the step that is walked."""

    read: Read
    size: int
    start: int = 0
    data: bytes = b""

    def at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`."""
        if not self.start <= offset or offset + length > self.start + len(self.data):
            more = max(length, WINDOW)
            self.start, self.data = offset, self.read(offset, max(0, min(more, self.size - offset)))
        return self.data[offset - self.start : offset - self.start + length]

    def line(self, offset: int) -> bytes | None:
        """The line from `offset`, with its end; None where none ends within :data:`_LINE`."""
        found, most = [], min(self.size, offset + _LINE)
        while offset < most:
            part = self.at(offset, min(WINDOW, most - offset))
            end = part.find(b"\n")
            found.append(part if end < 0 else part[: end + 1])
            if end >= 0:
                return b"".join(found)
            offset += len(part) or most
        return None


def is_pickle(head: bytes, size: int, *, expected: bool) -> bool:
    """Whether a file of `size` bytes that begins with `head` is a pickle. `expected`: its name says
    so, or says nothing of it; then less has to be seen. Text may look like a pickle for some steps.
    """
    head = head[:WINDOW]
    found = _walk(_WalkedBytes(lambda at, count: head[at : at + count], len(head)), size)
    if _BINARY.match(head) is not None:
        return found.stopped or found.cut or found.steps > 1
    if not expected:
        return found.imports and (found.stopped or found.calls)
    return found.imports or found.cut or (found.stopped and found.steps >= _FEW)


def is_pickle_too(size: int, read: Read) -> bool:
    """Whether a file that is of another format by its first bytes can be loaded as a pickle, too.
    Steps are walked as far as they go: the other format may be one long text of the pickle. What
    asks the program for values of its own (PERSID) is no way: of those that we know none gives any.
    """
    found = _walk(_WalkedBytes(read, size), size, closed=True)
    return found.imports or found.cut


def _walk(window: _WalkedBytes, size: int, *, closed: bool = False) -> _Steps:
    """`closed`: the window may be moved over all of the file, and PERSID ends the walk."""
    found = _Steps()
    at, here, before, marked = 0, window.size, "", False
    while at < here and found.steps < _MOST_STEPS:
        info = _STEPS.get(window.at(at, 1))
        if info is None or (closed and info.name == "PERSID"):
            return found
        end = _end_of(info, window, at + 1)
        if end == _NO_END and closed:
            break
        if end is None or end < 0 or end > size:
            return found
        found.steps += 1
        found.calls |= found.imports and _calls(info.name, before)
        found.imports |= found.steps >= _IMPORTS.get(info.name, size + 1)
        marked |= info.name == "MARK"
        found.calls |= marked and info.name == "INST"
        found.stopped = info.name == "STOP"
        if found.stopped:
            return found
        at, before = end, info.name
    found.cut = at < size if closed else size > here
    return found


def _calls(step: str, before: str) -> bool:
    """Whether a step calls what was imported, with what the one before it made."""
    return step in _CALLS and before in _ARGUMENTS


def _end_of(info: pickletools.OpcodeInfo, window: _WalkedBytes, at: int) -> int | None:
    """Where the argument at `at` ends, which may be beyond the window; None where it is none."""
    if info.arg is None:
        return at
    if info.arg.n >= 0:
        return at + info.arg.n
    if info.arg.n == pickletools.UP_TO_NEWLINE:
        return _lines(info.name, window, at)
    width = _WIDTHS[info.arg.n]
    if at + width > window.size:
        return None
    return at + width + int.from_bytes(window.at(at, width), "little")


def _lines(name: str, window: _WalkedBytes, at: int) -> int | None:
    """The same of an argument that is a line of text, or two."""
    looks = _TEXTS.get(name)
    for _ in range(2 if name in {"GLOBAL", "INST"} else 1):
        line = window.line(at)
        if line is None and window.size - at > _LINE:
            return _NO_END
        if line is None or (looks is not None and looks.fullmatch(line.rstrip(b"\r\n")) is None):
            return None
        at += len(line)
    return at
