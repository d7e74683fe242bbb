"""A file system of our own, by the kernel's FUSE protocol: a folder, seen through a mount that may
have no locks, or fail to read, write or sync. Unlike `seam.c` it is no part of the process: what it
refuses, the kernel refuses, for pages that are mapped too.

`python -m tests.faults.fuse FOLDER MOUNT CONTROLS` serves until the mount is gone; `mounted` starts
it. `Controls` (of `tests.faults.seam`) rule it while it runs: `locks` is the errno that flock and
fcntl get, or `GRANTED`; calls of `kinds` fail with `error`. It needs root and /dev/fuse.

The layout of messages is that of <linux/fuse.h>, version 7.31.
"""

import ctypes
import errno
import fcntl
import os
import select
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.faults.seam import Controls, Kind

_HEAD: Final = struct.Struct("=IIQQIIIHH")
_ANSWER: Final = struct.Struct("=IiQ")
_ATTRIBUTES: Final = struct.Struct("=6Q10I")
_ENTRY: Final = struct.Struct("=4Q2I")
_SETATTR: Final = struct.Struct("=2I6Q8I")
_READ: Final = struct.Struct("=2Q2IQ2I")
_ROOT: Final = 1
_MOST: Final = 1 << 17
"""Bytes of a write."""
_BUFFER: Final = _MOST + 4096
_POSIX_LOCKS, _BIG_WRITES, _FLOCK_LOCKS = 1 << 1, 1 << 5, 1 << 10
_MODE, _UID, _GID, _SIZE, _ATIME, _MTIME, _ATIME_NOW, _MTIME_NOW = 1, 2, 4, 8, 16, 32, 128, 256
_NO_ANSWER: Final = (2, 36, 42)
"""Forget, interrupt, forget many."""
_TOP: Final = Path(__file__).resolve().parents[2]


@dataclass(slots=True)
class _Node:
    """A file that the kernel knows: a descriptor of it, and how often it was told of."""

    fd: int
    key: tuple[int, int]
    known: int = 1


@dataclass(slots=True)
class _Folder:
    """An open folder: its names, as they were when it was opened."""

    names: list[tuple[bytes, int, int]] = field(default_factory=list)


class FileSystem:
    """Answers the kernel, one request at a time."""

    def __init__(self, folder: Path, controls: Controls) -> None:
        fd = os.open(folder, os.O_PATH)
        self._nodes = {_ROOT: _Node(fd, _key(os.fstat(fd)))}
        self._numbers = {self._nodes[_ROOT].key: _ROOT}
        self._next = _ROOT + 1
        self._folders: dict[int, _Folder] = {}
        self._controls = controls
        self._calls: dict[int, Callable[[int, bytes], bytes]] = {
            1: lambda node, rest: self._entry(node, _name(rest)),
            3: lambda node, _: self._attributes(node),
            4: self._change,
            5: lambda node, _: os.readlink(b"", dir_fd=self._fd(node)),
            6: self._symlink,
            9: self._mkdir,
            10: lambda node, rest: self._gone(os.unlink, node, rest),
            11: lambda node, rest: self._gone(os.rmdir, node, rest),
            12: lambda node, rest: self._rename(node, rest, 8),
            13: self._link,
            14: self._open,
            15: self._read,
            16: self._write,
            17: lambda node, _: self._statfs(node),
            18: self._release,
            20: self._sync,
            26: self._begin,
            27: self._open_folder,
            28: self._list,
            29: self._release_folder,
            30: self._sync_folder,
            31: lambda *_: self._lock() + struct.pack("=2Q2I", 0, 0, fcntl.F_UNLCK, 0),
            32: self._lock,
            33: self._lock,
            35: self._create,
            38: lambda *_: b"",
            45: lambda node, rest: self._rename(node, rest, 16),
        }

    def answer(self, request: bytes) -> bytes | None:
        """The answer to a request, if it wants one."""
        _, code, number, node, *_ = _HEAD.unpack_from(request)
        rest = request[_HEAD.size :]
        if code in _NO_ANSWER:
            self._forget(code, node, rest)
            return None
        failed, said = 0, b""
        try:
            call = self._calls.get(code)
            if call is None:
                failed = errno.ENOSYS
            else:
                said = call(node, rest)
        except OSError as error:
            failed, said = error.errno or errno.EIO, b""
        return _ANSWER.pack(_ANSWER.size + len(said), -failed, number) + said

    # What it knows

    def _fd(self, node: int) -> int:
        return self._nodes[node].fd

    def _path(self, node: int) -> str:
        return f"/proc/self/fd/{self._fd(node)}"

    def _forget(self, code: int, node: int, rest: bytes) -> None:
        if code == 2:
            (times,) = struct.unpack_from("=Q", rest)
            self._forget_one(node, times)
        elif code == 42:
            (count,) = struct.unpack_from("=I", rest)
            for number in range(count):
                self._forget_one(*struct.unpack_from("=2Q", rest, 8 + 16 * number))

    def _forget_one(self, number: int, times: int) -> None:
        node = self._nodes.get(number)
        if node is None or number == _ROOT:
            return
        node.known -= times
        if node.known <= 0:
            del self._nodes[number], self._numbers[node.key]
            os.close(node.fd)

    def _entry(self, parent: int, name: bytes) -> bytes:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self._fd(parent))
        found = os.fstat(fd)
        number = self._numbers.get(_key(found))
        if number is None:
            number, self._next = self._next, self._next + 1
            self._nodes[number] = _Node(fd, _key(found))
            self._numbers[_key(found)] = number
        else:
            self._nodes[number].known += 1
            os.close(fd)
        return _ENTRY.pack(number, 0, 0, 0, 0, 0) + _packed(found)

    def _attributes(self, node: int) -> bytes:
        return struct.pack("=Q2I", 0, 0, 0) + _packed(os.fstat(self._fd(node)))

    def _statfs(self, node: int) -> bytes:
        """How large it is it does not know, as with some network mounts."""
        found = os.statvfs(self._path(node))
        return struct.pack("=5Q4I24x", 0, 0, 0, 0, 0, found.f_bsize, 255, found.f_frsize, 0)

    def _begin(self, _: int, rest: bytes) -> bytes:
        _, _, ahead, _ = struct.unpack_from("=4I", rest)
        flags = _POSIX_LOCKS | _BIG_WRITES | _FLOCK_LOCKS
        return struct.pack("=4I2H2I2HI28x", 7, 31, ahead, flags, 16, 12, _MOST, 1, 0, 0, 0)

    def _may_fail(self, kind: Kind) -> None:
        number = self._controls.get("error")
        if number and self._controls.get("kinds") >> kind & 1:
            raise OSError(number, os.strerror(number))

    def _lock(self, *_: object) -> bytes:
        """No lock ever holds another one back here."""
        refused = self._controls.get("locks")
        if refused > 0:
            raise OSError(refused, os.strerror(refused))
        return b""

    # Names

    def _symlink(self, node: int, rest: bytes) -> bytes:
        name, target, *_ = rest.split(b"\0")
        os.symlink(target, name, dir_fd=self._fd(node))
        return self._entry(node, name)

    def _mkdir(self, node: int, rest: bytes) -> bytes:
        mode, _ = struct.unpack_from("=2I", rest)
        os.mkdir(_name(rest[8:]), mode, dir_fd=self._fd(node))
        return self._entry(node, _name(rest[8:]))

    def _gone(self, remove: Callable[..., None], node: int, rest: bytes) -> bytes:
        remove(_name(rest), dir_fd=self._fd(node))
        return b""

    def _rename(self, node: int, rest: bytes, size: int) -> bytes:
        if size == 16 and struct.unpack_from("=I", rest, 8) != (0,):
            raise OSError(errno.EINVAL, "no such flag")
        (there,) = struct.unpack_from("=Q", rest)
        old, new, *_ = rest[size:].split(b"\0")
        os.rename(old, new, src_dir_fd=self._fd(node), dst_dir_fd=self._fd(there))
        return b""

    def _link(self, node: int, rest: bytes) -> bytes:
        (what,) = struct.unpack_from("=Q", rest)
        name = _name(rest[8:])
        os.link(os.fsencode(self._path(what)), name, dst_dir_fd=self._fd(node))
        return self._entry(node, name)

    def _change(self, node: int, rest: bytes) -> bytes:
        valid, _, _, size, _, atime, mtime, _, atime_ns, mtime_ns, _, mode, _, uid, gid, _ = (
            _SETATTR.unpack_from(rest)
        )
        path = self._path(node)
        if valid & _MODE:
            os.chmod(path, stat.S_IMODE(mode))
        if valid & (_UID | _GID):
            os.chown(path, uid if valid & _UID else -1, gid if valid & _GID else -1)
        if valid & _SIZE:
            self._may_fail(Kind.TRUNCATE)
            os.truncate(path, size)
        if valid & (_ATIME | _MTIME):
            before = os.stat(path)
            if valid & (_ATIME_NOW | _MTIME_NOW):
                os.utime(path)
            else:
                read = atime * 10**9 + atime_ns if valid & _ATIME else before.st_atime_ns
                changed = mtime * 10**9 + mtime_ns if valid & _MTIME else before.st_mtime_ns
                os.utime(path, ns=(read, changed))
        return self._attributes(node)

    # Bytes

    def _open(self, node: int, rest: bytes) -> bytes:
        (flags,) = struct.unpack_from("=I", rest)
        fd = os.open(self._path(node), flags & ~(os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL))
        return struct.pack("=Q2I", fd, 0, 0)

    def _create(self, node: int, rest: bytes) -> bytes:
        flags, mode, _, _ = struct.unpack_from("=4I", rest)
        name = _name(rest[16:])
        self._may_fail(Kind.OPEN)
        fd = os.open(name, flags | os.O_CREAT, mode, dir_fd=self._fd(node))
        return self._entry(node, name) + struct.pack("=Q2I", fd, 0, 0)

    def _read(self, _: int, rest: bytes) -> bytes:
        fd, at, size, *_more = _READ.unpack_from(rest)
        self._may_fail(Kind.READ)
        return os.pread(fd, size, at)

    def _write(self, _: int, rest: bytes) -> bytes:
        fd, at, size, *_more = _READ.unpack_from(rest)
        self._may_fail(Kind.WRITE)
        return struct.pack("=2I", os.pwrite(fd, rest[_READ.size : _READ.size + size], at), 0)

    def _sync(self, _: int, rest: bytes) -> bytes:
        self._may_fail(Kind.SYNC)
        os.fsync(struct.unpack_from("=Q", rest)[0])
        return b""

    def _release(self, _: int, rest: bytes) -> bytes:
        os.close(struct.unpack_from("=Q", rest)[0])
        return b""

    # Folders

    def _open_folder(self, node: int, rest: bytes) -> bytes:
        del rest
        names = [(b".", 0, 4), (b"..", 0, 4)]
        with os.scandir(self._path(node)) as entries:
            for entry in entries:
                kind = 4 if entry.is_dir(follow_symlinks=False) else 10 * entry.is_symlink() or 8
                names.append((os.fsencode(entry.name), entry.inode(), kind))
        number = os.open(self._path(node), os.O_RDONLY | os.O_DIRECTORY)
        self._folders[number] = _Folder(names)
        return struct.pack("=Q2I", number, 0, 0)

    def _list(self, _: int, rest: bytes) -> bytes:
        number, at, size, *_more = _READ.unpack_from(rest)
        found = b""
        for place, (name, inode, kind) in enumerate(self._folders[number].names[at:], at + 1):
            row = struct.pack("=2Q2I", inode or 1, place, len(name), kind) + name
            row += bytes(-len(row) % 8)
            if len(found) + len(row) > size:
                break
            found += row
        return found

    def _sync_folder(self, _: int, rest: bytes) -> bytes:
        self._may_fail(Kind.SYNC)
        os.fsync(struct.unpack_from("=Q", rest)[0])
        return b""

    def _release_folder(self, _: int, rest: bytes) -> bytes:
        (number,) = struct.unpack_from("=Q", rest)
        del self._folders[number]
        os.close(number)
        return b""


def _key(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _name(rest: bytes) -> bytes:
    return rest[: rest.index(b"\0")]


def _packed(found: os.stat_result) -> bytes:
    times = [found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns]
    return _ATTRIBUTES.pack(
        *(found.st_ino, found.st_size, found.st_blocks),
        *(time // 10**9 for time in times),
        *(time % 10**9 for time in times),
        *(found.st_mode, found.st_nlink, found.st_uid, found.st_gid, found.st_rdev),
        *(found.st_blksize, 0),
    )


def _mount(kind: bytes, where: Path, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"outlast-tests", os.fsencode(where), kind, 0, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(where))


def unmount(where: Path) -> None:
    """Takes the mount away, also where files of it are open."""
    lazily = 2
    ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(where), lazily)


def serve(folder: Path, where: Path, controls: Controls) -> None:
    """Mounts, says so, and answers until the mount is gone."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    own = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    _mount(b"fuse", where, own)
    system = FileSystem(folder, controls)
    print("mounted", flush=True)
    parent = os.pidfd_open(os.getppid())
    while True:
        ready, _, _ = select.select([device, parent], [], [])
        if parent in ready:
            unmount(where)
            return
        try:
            answer = system.answer(os.read(device, _BUFFER))
            if answer is not None:
                os.write(device, answer)
        except OSError as error:
            if error.errno == errno.ENODEV:  # it is gone
                return
            if error.errno not in {errno.ENOENT, errno.EINTR, errno.EAGAIN}:  # it waits no more
                raise


@contextmanager
def mounted(folder: Path, where: Path, controls: Controls) -> Iterator[None]:
    """Has `folder` seen at `where` as well, under `controls`. Skips where that cannot be."""
    if sys.platform != "linux" or os.geteuid() or not os.path.exists("/dev/fuse"):
        pytest.skip("needs root and /dev/fuse")
    where.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.fuse", folder, where, controls.path],
        cwd=_TOP,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "mounted\n"
        yield
    finally:
        unmount(where)
        process.kill()
        process.communicate()


def _main() -> None:
    folder, where, controls = map(Path, sys.argv[1:])
    serve(folder, where, Controls(controls, anew=False))


if __name__ == "__main__":
    _main()
