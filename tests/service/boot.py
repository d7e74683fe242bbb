"""A machine of its own that systemd runs: real units under the real manager, in namespaces.

systemd is process 1 of new namespaces (processes, mounts, network, host name, control groups).
What its units do to a machine must not reach this one: its root is an overlay whose writes go to
memory, it has devices of its own (null and the like), /proc/sys and /sys are read-only, and the
real root is unmounted. Of this machine it can write to one folder, that of the test.
`test_isolation` tries that before systemd is started at all. Needs root, systemd, util-linux and
iproute2; `machine_fault` says what is missing.
"""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

SECONDS: Final = 120.0
_SYSTEMD: Final = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
_GROUPS: Final = "cgroup2"
_SCRIPT: Final = """\
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$WORK"
mkdir "$WORK/upper" "$WORK/work" "$WORK/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$WORK/upper,workdir=$WORK/work" "$WORK/root"
cd "$WORK/root"
for folder in run tmp mnt var/tmp var/lib var/log; do
    mkdir -p $folder && mount -t tmpfs -o mode=755 tmpfs $folder
done
chmod 1777 tmp var/tmp
mkdir -p mnt/given mnt/old
mount --bind "$GIVEN" mnt/given
chmod 755 root
for folder in $PROGRAM "$GIVEN"; do
    mkdir -p ".$folder"
    mount --bind "$folder" ".$folder"
    mount -o remount,bind,ro ".$folder"
done
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mknod -m 666 dev/null c 1 3; mknod -m 666 dev/zero c 1 5; mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8; mknod -m 666 dev/urandom c 1 9; mknod -m 666 dev/tty c 5 0
cp -a dev/null dev/console
ln -s /proc/self/fd dev/fd; ln -s pts/ptmx dev/ptmx
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t proc proc proc
pivot_root . mnt/old
umount -R -l /mnt/old
for path in /proc/sys /proc/sysrq-trigger; do
    [ -e $path ] || continue
    mount --bind $path $path
    mount -o remount,bind,ro $path
done
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --make-rshared /
ip link set lo up
# Nothing begins on a root that is not the machine's own.
[ "$(stat -f -c %T /)" = overlayfs ] && [ -z "$(ls /mnt/old)" ] || exit 99
exec "$@"
"""
"""Makes the machine, and becomes the command that it is given."""
_BOOT: Final = """\
mkdir -p /etc/systemd/system
for unit in tmpfiles-setup tmpfiles-setup-dev tmpfiles-clean sysusers udevd udev-trigger sysctl \\
    modules-load random-seed update-utmp logind; do
    ln -sf /dev/null /etc/systemd/system/systemd-$unit.service
done
printf '[Unit]\\nDescription=a machine for tests\\n' > /etc/systemd/system/booted.target
export container=outlast-tests
exec setpriv --bounding-set=-sys_module,-sys_time,-sys_boot,-sys_rawio,-syslog,-mac_admin \\
    "$SYSTEMD" --system --unit=booted.target --show-status=no
"""


def command(given: Path, work: Path, group: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    """What runs `words` as process 1 of a machine, and its environment. The machine sees `given` as
    /mnt/given, and can read it where it lies. `work` is an empty folder, `group` a control group of
    its own.
    """
    spaces = ["--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup"]
    enter = f'echo $$ > "{group}/cgroup.procs" && exec "$@"'
    line = ["sh", "-c", enter, "sh", "unshare", *spaces, "--fork", "--kill-child",
            "sh", "-c", _SCRIPT, "sh", *words]  # fmt: skip
    program = {sys.base_prefix, sys.prefix, str(Path(__file__).parents[2])}
    more = {"GIVEN": str(given), "WORK": str(work), "PROGRAM": " ".join(sorted(program)),
            "SYSTEMD": _systemd() or ""}  # fmt: skip
    return line, {**os.environ, **more}


@contextlib.contextmanager
def control_group() -> Iterator[Path]:
    """A control group of its own, which is removed with all that came into it."""
    above = _groups()
    assert above is not None
    group = Path(tempfile.mkdtemp(prefix="outlast-test-", dir=above))
    try:
        yield group
    finally:
        wait_for(lambda: _removed(group), "its processes are gone")


def wait_for(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


class Machine:
    """Running while the block does. `given` is a folder that it sees as /mnt/given."""

    def __init__(self, given: Path) -> None:
        self._given = given
        self._process: subprocess.Popen[bytes] | None = None
        self._log = given / "systemd.log"
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            work = stack.enter_context(tempfile.TemporaryDirectory(prefix="outlast-booted-"))
            group = stack.enter_context(control_group())
            line, env = command(self._given, Path(work), group, "sh", "-c", _BOOT)
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    line, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip
            stack.callback(self._stop)
            wait_for(self._is_up, "the machine is up")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _stop(self) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(SECONDS)

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.said()
        return self._first() is not None and self.run("systemctl", "is-active", "booted.target")[0]

    def _first(self) -> int | None:
        """Its process 1, as this machine counts."""
        assert self._process is not None
        pid = self._process.pid
        with suppress(OSError, ValueError, IndexError):
            return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        return None

    def said(self) -> str:
        """What systemd and its services wrote to the console."""
        return self._log.read_text(errors="replace")[-4000:]

    def run(self, *words: str) -> tuple[bool, str]:
        """Runs a command on the machine as root: whether it ended well, and what it said."""
        first = self._first()
        assert first is not None, self.said()
        enter = ["nsenter", f"--target={first}", "--pid", "--mount", "--uts", "--ipc", "--net",
                 "--cgroup", "--wd=/"]  # fmt: skip
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        done = subprocess.run(
            [*enter, *words],
            env={**kept, "HOME": "/root", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return done.returncode == 0, done.stdout + done.stderr

    def journal(self) -> str:
        """The last lines of its journal."""
        return self.run("journalctl", "--no-pager", "--lines=40", "--output=cat")[1]

    def ok(self, *words: str) -> str:
        """The same; it must end well."""
        well, said = self.run(*words)
        assert well, f"{' '.join(words)}: {said} {self.said()} {self.journal()}"
        return said

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit."""
        said = self.ok("systemctl", "show", unit, f"--property={','.join(names)}")
        return dict(line.split("=", 1) for line in said.splitlines())


def _removed(group: Path) -> bool:
    """Whether a control group is gone, after trying to remove it."""
    for folder, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()
    return not group.exists()


def _groups() -> Path | None:
    """Where the control groups of version 2 are."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, path, kind, *_ = line.split()
        if kind == _GROUPS:
            return Path(path)
    return None


def _systemd() -> str | None:
    return next((path for path in _SYSTEMD if Path(path).exists()), None)


@functools.cache
def machine_fault(*, start: bool = True) -> str:
    """Why no such machine runs here; empty where one does. With `start` one is tried."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root, to make namespaces"
    missing = [
        name
        for name in ("unshare", "nsenter", "setpriv", "ip", "systemctl")
        if not shutil.which(name)
    ]
    if missing or _systemd() is None:
        return f"not installed: {', '.join([*missing, *([] if _systemd() else ['systemd'])])}"
    if _groups() is None:
        return "no control groups of version 2"
    if not start:
        return ""
    with tempfile.TemporaryDirectory(prefix="outlast-booted-") as folder:
        try:
            with Machine(Path(folder)):
                return ""
        except (AssertionError, OSError) as error:
            return f"systemd does not start in namespaces: {str(error)[-300:]}"
