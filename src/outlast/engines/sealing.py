"""Takes this process off every network, for good, before an engine is loaded into it.

Two locks of the kernel, each of them enough alone: a network namespace without an interface that is
up, and a filter of system calls (seccomp) that refuses every socket but local ones, and every
connection. Where neither can be had, nothing is run. Linux alone has them.
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from outlast.engines.worker import RefusedError

NAMESPACE: Final = "network namespace"
FILTER: Final = "seccomp filter"

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2

# Instructions of BPF, as <linux/bpf_common.h> numbers them.
_LOAD: Final = 0x20
_AND: Final = 0x54
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_DENY: Final = 0x00050000 | 1
"""EPERM."""
# Where the number, the architecture and the low half of two arguments are (struct seccomp_data).
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24
_X32: Final = 0x40000000
_AF_UNIX: Final = 1
_SOCK_STREAM: Final = 1
_KIND_MASK: Final = 0xF

_SYSTEMS: Final[Mapping[str, tuple[int, Mapping[str, int]]]] = {
    "x86_64": (
        0xC000003E,
        {
            "socket": 41,
            "connect": 42,
            "ptrace": 101,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "setns": 308,
            "io_uring_setup": 425,
            "pidfd_getfd": 438,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "socket": 198,
            "connect": 203,
            "ptrace": 117,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "setns": 268,
            "io_uring_setup": 425,
            "pidfd_getfd": 438,
        },
    ),
}
"""By machine: the kernel's name for it, and the numbers of the system calls that are refused. Of
`socket`, local stream sockets are not: the engine listens on one. `connect` would reach services of
this machine by their local sockets, io_uring opens sockets past a filter, and the others take over
a process that has a network."""


def seal() -> Sequence[str]:
    """Seals this process, which may have one thread only; the names of the locks that hold. Raises
    :class:`RefusedError` where there is none.
    """
    if not sys.platform.startswith("linux"):
        raise RefusedError("a sealed run needs Linux", "without --sealed it runs here")
    libc = ctypes.CDLL(None, use_errno=True)
    problems = []
    held = []
    for name, lock in ((NAMESPACE, _leave_networks), (FILTER, _filter_calls)):
        try:
            lock(libc)
        except OSError as error:
            problems.append(f"{name}: {error.strerror or error}")
        else:
            held.append(name)
    if not held:
        raise RefusedError(
            f"this process cannot be sealed ({'; '.join(problems)})",
            "the kernel or the container forbids it: allow user namespaces or seccomp",
        )
    return held


def _leave_networks(libc: ctypes.CDLL) -> None:
    """A user namespace too: it takes no privilege, and leaves the process none over the machine's
    own networks. Raises :class:`OSError`.
    """
    user, group = os.geteuid(), os.getegid()
    _checked(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET))
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _filter_calls(libc: ctypes.CDLL) -> None:
    """Raises :class:`OSError`."""
    program = filter_program(platform.machine())
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, and where they are.
    about = ctypes.create_string_buffer(
        struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    )
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, about, 0, 0))


def _checked(status: int) -> None:
    if status:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def filter_program(machine: str) -> bytes:
    """The filter for a machine, as instructions of classic BPF. Raises :class:`OSError` for one
    that we have no numbers for.
    """
    if machine not in _SYSTEMS:
        raise OSError(0, f"not known for {machine}")
    architecture, calls = _SYSTEMS[machine]
    refused = [number for name, number in calls.items() if name != "socket"]
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),  # calls of another kind of machine have other numbers
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        lines += [(_IF_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _DENY)]
    for number in refused:
        lines += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _DENY)]
    lines += [
        (_IF_EQUAL, 1, 0, calls["socket"]),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FIRST),
        (_IF_EQUAL, 1, 0, _AF_UNIX),
        (_RETURN, 0, 0, _DENY),
        (_LOAD, 0, 0, _SECOND),
        (_AND, 0, 0, _KIND_MASK),
        (_IF_EQUAL, 1, 0, _SOCK_STREAM),
        (_RETURN, 0, 0, _DENY),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("@HBBI", *line) for line in lines)
