"""Several processes on one archive, and processes that are killed."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from outlast.core.digest import Digest
from outlast.store.archive import Archive
from outlast.store.collect import collect
from tests.store import weights
from tests.store.build import COMMIT, OTHER, REPO, archive_revision, entry_of, put, revision_of
from tests.store.model import Model

pytestmark = pytest.mark.crash

WRITER = """
import sys
from pathlib import Path
from outlast.codec.hashing import names_of
from outlast.store.archive import Archive
with Archive(Path(sys.argv[1])) as archive, archive.writer() as writer:
    archive.put(writer, b"theirs", names_of(b"theirs"))
    writer.temp().write_bytes(b"unfinished")
    print("ready", flush=True)
    sys.stdin.read()
"""

COLLECTOR = """
import sys
from pathlib import Path
from outlast.store.archive import Archive
from outlast.store.collect import collect
with Archive(Path(sys.argv[1])) as archive:
    for garbage in collect(archive, dry_run=False):
        print(garbage.what, garbage.name)
"""

PULLER = """
import itertools, sys
from pathlib import Path
from outlast.codec.hashing import names_of
from outlast.core.manifest import Revision
from outlast.store.archive import Archive
from tests.store import weights
from tests.store.build import COMMIT, REPO, entry_of, revision_of
with Archive(Path(sys.argv[1])) as archive, archive.writer() as writer:
    contents = {f"f{n}": b"content %d" % n for n in range(400)}
    archive.drafts.start(writer, revision_of({}, contents))
    for path, data in contents.items():
        archive.put(writer, data, names_of(data))
        archive.drafts.add(REPO, COMMIT, [entry_of(path, data)])
        print(path, flush=True)
"""


CHANGER = """
import sys
from pathlib import Path
from random import Random
from outlast.core.digest import Digest
from outlast.core.errors import NotArchivedError, TooDeepError
from outlast.store.archive import Archive
from tests.store import weights
home, seed, *names = sys.argv[1:]
random = Random(seed)
with Archive(Path(home)) as archive:
    for _ in range(60):
        key, base = random.sample([Digest(name) for name in names], 2)
        with archive.writer() as writer:
            if random.random() < 0.4:
                weights.unpack(archive, writer, key)
            else:
                try:
                    weights.pack(archive, writer, key, *[base][: random.getrandbits(1)])
                except TooDeepError:
                    print("refused", flush=True)
                else:
                    print("packed", flush=True)
"""

LOOKER = """
import sys
from pathlib import Path
from outlast.core.digest import Digest
from outlast.store.archive import Archive
from outlast.store.collect import collect
home, _, *names = sys.argv[1:]
print("ready", flush=True)
with Archive(Path(home)) as archive:
    for _ in range(150):
        for name in names:
            form = archive.form_of(Digest(name))
            assert archive.has(Digest(name), form.size)
            with archive.open(Digest(name)) as file:
                assert Digest.of(file.read()).hex == name
        assert {g.what for g in collect(archive, dry_run=False)} <= {"tmp", "capsule"}
print("seen", flush=True)
"""


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as made:
        yield made


@contextlib.contextmanager
def child(
    code: str, archive: Archive, *arguments: str
) -> Iterator[tuple["subprocess.Popen[bytes]", IO[bytes]]]:
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), root]))
    command = [sys.executable, "-c", code, str(archive.layout.home), *arguments]
    env = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


def run_collector(archive: Archive) -> list[str]:
    with child(COLLECTOR, archive) as (process, stdout):
        lines = stdout.read().decode().splitlines()
        assert process.wait() == 0
    return lines


def test_another_process_respects_our_claims(archive: Archive) -> None:
    with archive.writer() as writer:
        (digest,) = put(archive, writer, b"ours")
        assert run_collector(archive) == []
        assert archive.has(digest, 4)
    assert run_collector(archive) == [f"blob {digest}"]
    assert not archive.has(digest, 4)


def test_we_respect_the_claims_of_another_process_until_it_is_killed(archive: Archive) -> None:
    digest = Digest.of(b"theirs")
    with child(WRITER, archive) as (process, stdout):
        assert stdout.readline() == b"ready\n"
        assert list(collect(archive, dry_run=False)) == []
        assert archive.has(digest, 6)
        process.kill()
        process.wait()
        left = list(archive.layout.tmp.iterdir())
        assert len(left) == 1
        assert any(path.suffix == ".tmp" for path in left[0].iterdir())
    dry = {(g.what, g.name) for g in collect(archive, dry_run=True)}
    assert ("blob", digest.hex) in dry
    assert any(what == "tmp" for what, _ in dry)
    assert archive.has(digest, 6)
    assert {(g.what, g.name) for g in collect(archive, dry_run=False)} == dry
    assert list(archive.layout.tmp.iterdir()) == []
    assert not archive.has(digest, 6)
    archive_revision(archive, {"x": b"theirs"})
    assert archive.has(digest, 6)


def test_a_process_that_ends_in_order_leaves_nothing(archive: Archive) -> None:
    with child(WRITER, archive) as (process, stdout):
        assert stdout.readline() == b"ready\n"
        process.communicate()
        assert process.returncode == 0
    assert list(archive.layout.tmp.iterdir()) == []


@pytest.mark.parametrize("acknowledged", [1, 7, 60])
def test_a_killed_pull_keeps_what_it_acknowledged(archive: Archive, acknowledged: int) -> None:
    with child(PULLER, archive) as (process, stdout):
        for n in range(acknowledged):
            assert stdout.readline() == b"f%d\n" % n
        process.kill()
        process.wait()
        rest = stdout.read().count(b"\n")
    list(collect(archive, dry_run=False))
    draft = archive.load(REPO, COMMIT)
    assert draft is not None
    held = {entry.path for entry in draft.files}
    assert held >= {f"f{n}" for n in range(acknowledged + rest)}
    assert len(draft.files) + len(draft.missing) == 400
    assert all(archive.holds(entry) for entry in draft.files)
    assert Model.read(archive.layout.home).garbage() == set()


def test_two_processes_pull_the_same(archive: Archive) -> None:
    with child(PULLER, archive) as (one, _), child(PULLER, archive) as (two, _):
        for process in (one, two):
            out, _ = process.communicate()
            assert process.returncode == 0
            assert out.count(b"\n") == 400
    draft = archive.load(REPO, COMMIT)
    assert draft is not None
    assert len(draft.files) == 400
    assert draft.missing == ()
    assert list(collect(archive, dry_run=False)) == []


def test_collecting_in_another_process_while_we_pull(archive: Archive) -> None:
    """What a live writer puts, and then refers to, is never taken away under it."""
    contents = {f"f{n}": b"content %d" % n for n in range(150)}
    with archive.writer() as writer:
        archive.drafts.start(writer, revision_of({}, contents, commit=OTHER))
        with child(COLLECTOR, archive) as (one, _), child(COLLECTOR, archive) as (two, _):
            for path, data in contents.items():
                put(archive, writer, data)
                archive.drafts.add(REPO, OTHER, [entry_of(path, data)])
            archive.put_revision(writer, revision_of(contents, commit=OTHER))
            for process in (one, two):
                out, _ = process.communicate()
                assert process.returncode == 0
                assert out == b""
    assert list(collect(archive, dry_run=False)) == []
    assert all(archive.holds(entry) for entry in revision_of(contents).files)


def test_forms_that_several_processes_change_at_once(archive: Archive) -> None:
    """Nothing is ever away, nothing stranded, whatever order their steps come in."""
    base = weights.model(1, 800)
    files = {"0": base, **{str(n): weights.tuned(base, n) for n in range(1, 4)}}
    archive_revision(archive, files)
    names = [Digest.of(data).hex for data in files.values()]
    with (
        child(CHANGER, archive, "1", *names) as (first, said),
        child(CHANGER, archive, "2", *names) as (second, _),
        child(LOOKER, archive, "3", *names) as (looker, seen),
    ):
        assert b"seen" in seen.read()
        told = said.read()
        assert [process.wait() for process in (first, second, looker)] == [0, 0, 0]
    assert b"packed" in told
    found = Model.read(archive.layout.home)
    assert set(found.blobs) == set(names)
    assert found.doubled == set()
