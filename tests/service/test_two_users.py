"""An archive that one user writes and a group reads, as the guide says: as two real users."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

import outlast
from tests.cli.call import Call
from tests.pull.kit import check_archive, contents, tree

pytestmark = pytest.mark.rootonly
WRITER, READER, OTHER, GROUP = 61001, 61002, 61003, 61010
START = (
    "import site, sys; [site.addsitedir(p) for p in sys.argv[1].split(':')]; "
    "sys.argv = ['outlast', *sys.argv[2:]]; from outlast.__main__ import run; run()"
)
"""What starts this installation in another interpreter of the same version."""


@cache
def interpreter() -> str | None:
    """A Python that users other than root can run, with this installation; None if there is none:
    that of the tests may lie in root's folder.
    """
    for program in (sys.executable, "/usr/bin/python3", f"/usr/bin/{Path(sys.executable).name}"):
        try:
            done = subprocess.run(
                _words(program, "--version"), user=OTHER, group=OTHER, extra_groups=[], cwd="/",
                env={}, capture_output=True, check=False,
            )  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0:
            return program
    return None


def _words(program: str, *arguments: str) -> list[str]:
    places = [
        str(Path(outlast.__file__).parents[1]),
        *(p for p in sys.path if "site-packages" in p),
    ]
    return [program, "-c", START, ":".join(places), *arguments]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder as the guide makes it: of the writer and the group, with the group handed on."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become two users")
    if interpreter() is None:
        pytest.skip("no Python here that other users can run has this installation")
    # Not below tmp_path, into which root alone may look.
    folder = Path(tempfile.mkdtemp(prefix="outlast-two-"))
    folder.chmod(0o755)
    for name, user in (("archive", WRITER), ("writer", WRITER), ("reader", READER),
                       ("other", OTHER)):  # fmt: skip
        (folder / name).mkdir()
        os.chown(folder / name, user, GROUP if name == "archive" else user)
    (folder / "archive").chmod(0o2750)
    (folder / "files").mkdir()
    (folder / "files" / "a.bin").write_bytes(b"a" * 5000)
    for path in (folder / "files", folder / "files" / "a.bin"):
        path.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def run(shared: Path) -> Callable[..., Call]:
    """A command of a user on the archive."""
    users = {"writer": WRITER, "reader": READER, "other": OTHER}

    def call(who: str, *arguments: str) -> Call:
        program = interpreter()
        assert program is not None
        home = shared / who
        done = subprocess.run(
            _words(program, *arguments, "--home", str(shared / "archive")),
            user=users[who],
            group=users[who],
            extra_groups=[] if who == "other" else [GROUP],
            umask=0o027,
            env={"HOME": str(home), "PATH": os.environ["PATH"], "OUTLAST_SWARM": "0"},
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
        return Call(done.returncode, done.stdout, done.stderr)

    return call


def test_one_writes_and_a_group_reads(run: Callable[..., Call], shared: Path) -> None:
    archive = shared / "archive"
    run("writer", "add", "../files", "--as", "me/mine").ok()
    assert "me/mine" in run("reader", "ls").ok().out
    assert "a.bin" in run("reader", "show", "me/mine").ok().out
    assert "all intact" in run("reader", "verify").ok().out
    run("reader", "link", "me/mine", "--folder", "laid out").ok()
    assert (shared / "reader" / "laid out" / "a.bin").read_bytes() == b"a" * 5000
    run("writer", "add", "../files", "--as", "me/more").ok()  # what readers did is in no way
    assert "me/more" in run("reader", "ls").ok().out
    groups = {path.stat().st_gid for path in archive.rglob("*")}
    assert groups == {GROUP}
    assert all(path.stat().st_mode & 0o050 == 0o050 for path in archive.rglob("*/")
               if path.is_dir() and path.name != "nodes")  # fmt: skip


def test_readers_change_nothing(run: Callable[..., Call], shared: Path) -> None:
    archive = shared / "archive"
    run("writer", "add", "../files", "--as", "me/mine").ok()
    before = tree(archive)
    run("reader", "add", "../files", "--as", "me/theirs").failed("storage")
    run("reader", "gc").failed("storage")
    run("reader", "rm", "me/mine").failed("storage")
    assert {k: v for k, v in tree(archive).items() if not k.startswith("index")} == {
        k: v for k, v in before.items() if not k.startswith("index")
    }
    check_archive(archive)
    assert contents(archive, "me/mine") == {"a.bin": b"a" * 5000}


def test_others_see_nothing(run: Callable[..., Call]) -> None:
    run("writer", "add", "../files", "--as", "me/mine").ok()
    call = run("other", "ls")
    assert call.code != 0
    assert "me/mine" not in call.out + call.err
    assert "Traceback" not in call.err


def test_a_second_writer_is_refused(run: Callable[..., Call], shared: Path) -> None:
    """Also where the group may write to the folders: the lock is the first writer's. The guide says
    so; if this becomes possible, it has to say how.
    """
    (shared / "archive").chmod(0o2770)
    run("writer", "add", "../files", "--as", "me/mine").ok()
    assert "lock" in run("reader", "add", "../files", "--as", "me/theirs").failed("storage")
