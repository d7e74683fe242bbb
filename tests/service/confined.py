"""Runs a command under the filters that systemd would install for a unit, without systemd: which
system calls and address families it may use, and that memory is never both written and executed.
`python -m tests.service.confined UNIT -- PROGRAM ARGUMENT…`
"""

import ctypes
import errno
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.service.reading import settings

_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_LIBRARY: Final = "libseccomp.so.2"
_LESS, _EQUAL, _MORE, _MASKED = 2, 4, 6, 7
_PROT_WRITE, _PROT_EXEC, _SHM_EXEC = 2, 4, 0o100000
_NO_NEW_PRIVILEGES: Final = 38


class _Compare(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


@cache
def fault() -> str:
    """Why commands cannot be confined here; empty where they can."""
    try:
        library()
        group("@system-service")
    except OSError as error:
        return f"no {error.filename or _LIBRARY} here"
    return ""


def library() -> Any:
    found = ctypes.CDLL(_LIBRARY, use_errno=True)
    found.seccomp_init.restype = ctypes.c_void_p
    return found


@cache
def group(name: str) -> frozenset[str]:
    """The system calls of one of systemd's groups."""
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", name],
        capture_output=True,
        text=True,
        check=True,
    )
    found: set[str] = set()
    for line in done.stdout.splitlines()[1:]:
        word = line.strip()
        if word and not word.startswith("#"):
            found |= group(word) if word.startswith("@") else {word}
    return frozenset(found)


def allowed(unit: dict[str, list[str]]) -> set[str]:
    """What the lines ``SystemCallFilter=`` leave."""
    found: set[str] = set()
    for line in unit["Service.SystemCallFilter"]:
        names = {name for word in line.removeprefix("~").split() for name in group(word)}
        found = found - names if line.startswith("~") else found | names
    return found


class Filter:
    """A filter that does `default` with every call for which it has no rule."""

    def __init__(self, default: int) -> None:
        self._library = library()
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def rule(self, action: int, call: str, *compare: tuple[int, int, int, int]) -> None:
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:  # of another architecture
            return
        given = (_Compare * len(compare))(*(_Compare(*each) for each in compare))
        done = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(compare), given
        )
        assert done == 0, (call, done)

    def load(self) -> None:
        done = self._library.seccomp_load(self._context)
        assert done == 0, done


def confine(unit: dict[str, list[str]]) -> None:
    """Puts this process, and all that it becomes, under the filters of a unit."""
    assert ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    assert unit["Service.SystemCallErrorNumber"] == ["EPERM"]
    calls = Filter(_ERRNO | errno.EPERM)
    for name in sorted(allowed(unit)):
        calls.rule(_ALLOW, name)
    more = Filter(_ALLOW)
    if unit["Service.MemoryDenyWriteExecute"] == ["yes"]:
        both = _PROT_WRITE | _PROT_EXEC
        more.rule(_ERRNO | errno.EPERM, "mmap", (2, _MASKED, both, both))
        for name in ("mprotect", "pkey_mprotect"):
            more.rule(_ERRNO | errno.EPERM, name, (2, _MASKED, _PROT_EXEC, _PROT_EXEC))
        more.rule(_ERRNO | errno.EPERM, "shmat", (2, _MASKED, _SHM_EXEC, _SHM_EXEC))
    [families] = unit["Service.RestrictAddressFamilies"]
    kept = sorted(int(getattr(socket, name)) for name in families.split())
    refuse = _ERRNO | errno.EAFNOSUPPORT
    more.rule(refuse, "socket", (0, _LESS, kept[0], 0))
    more.rule(refuse, "socket", (0, _MORE, kept[-1], 0))
    for family in set(range(kept[0], kept[-1])) - set(kept):
        more.rule(refuse, "socket", (0, _EQUAL, family, 0))
    more.load()
    calls.load()


def main() -> None:
    unit, dashes, *command = sys.argv[1:]
    assert dashes == "--"
    confine(settings(Path(unit).read_text()))
    os.execv(command[0], command)  # noqa: S606 - it is the point


if __name__ == "__main__":
    main()
