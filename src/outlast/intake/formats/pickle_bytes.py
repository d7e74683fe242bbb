"""Tells a pickle by its first bytes: they are walked, step by step, and no step is carried out."""

import pickletools
import re
from dataclasses import dataclass
from typing import Final

WINDOW: Final = 64 * 1024
"""Bytes of a file that are walked. What comes later cannot make the beginning another format."""
_FEW: Final = 3
"""Steps to an end that tell a pickle without imports from two letters of something else."""
_IMPORTS: Final = {"GLOBAL": 1, "INST": 1, "STACK_GLOBAL": 3}
"""Operations by which a pickle names what is to run, which none runs without; and how many steps
there are with it, at least: the last one takes two texts from before. (EXT1 to EXT4 name what the
program itself registered under a number; none that we know registers anything.)
"""
_BINARY: Final = re.compile(rb"\x80[\x01-\x05]")
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
_STEPS: Final = {info.code.encode("latin-1"): info for info in pickletools.opcodes}


@dataclass(slots=True)
class _Steps:
    """How many steps there are, whether one imports, whether they come to their end, and whether
    one goes on beyond the bytes that are here, but not beyond the file.
    """

    steps: int = 0
    imports: bool = False
    stopped: bool = False
    cut: bool = False


def is_pickle(head: bytes, size: int, *, expected: bool) -> bool:
    """Whether a file of `size` bytes that begins with `head` is a pickle. `expected`: its name says
    so, or says nothing of it; then less has to be seen. Text may look like a pickle for some steps.
    """
    found = _walk(head[:WINDOW], size)
    if _BINARY.match(head) is not None:
        return found.stopped or found.cut or found.steps > 1
    if not expected:
        return found.imports and found.stopped
    return found.imports or found.cut or (found.stopped and found.steps >= _FEW)


def _walk(head: bytes, size: int) -> _Steps:
    found = _Steps()
    at = 0
    while at < len(head):
        info = _STEPS.get(head[at : at + 1])
        if info is None:
            return found
        end = _end_of(info, head, at + 1)
        if end is None or end > size:
            return found
        found.steps += 1
        found.imports |= found.steps >= _IMPORTS.get(info.name, len(head) + 1)
        found.stopped = info.name == "STOP"
        if found.stopped:
            return found
        at = end
    found.cut = size > len(head)
    return found


def _end_of(info: pickletools.OpcodeInfo, head: bytes, at: int) -> int | None:
    """Where the argument at `at` ends, which may be beyond the head; None where it is none."""
    if info.arg is None:
        return at
    if info.arg.n >= 0:
        return at + info.arg.n
    if info.arg.n == pickletools.UP_TO_NEWLINE:
        return _lines(info.name, head, at)
    width = _WIDTHS[info.arg.n]
    if at + width > len(head):
        return None
    return at + width + int.from_bytes(head[at : at + width], "little")


def _lines(name: str, head: bytes, at: int) -> int | None:
    """The same of an argument that is a line of text, or two."""
    looks = _TEXTS.get(name)
    for _ in range(2 if name in {"GLOBAL", "INST"} else 1):
        end = head.find(b"\n", at)
        if end < 0 or (looks is not None and looks.fullmatch(head[at:end].rstrip(b"\r")) is None):
            return None
        at = end + 1
    return at
