"""What may not be read or written says so: a StorageError, never a bare PermissionError.

Root is not held by modes, so as root the cases run in a process that gave root up.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CASES = """
import os, sys
from pathlib import Path
from outlast.core.errors import OutlastError, StorageError
from outlast.core.digest import Digest

from outlast.store.archive import Archive
from outlast.store.collect import collect
from outlast.store.copies import all_copies
from outlast.store.partials import present_bytes
from outlast.store.records.refs import Ref
from tests.store.build import COMMIT, OTHER, REPO, archive_revision, entry_of, put, revision_of



def build(home):
    archive = Archive(home, create=True)
    revision = archive_revision(archive, {"a": b"a"})
    with archive.writer() as writer:
        archive.refs.put(writer, REPO, Ref("main", COMMIT))
        archive.drafts.start(writer, revision_of({}, {"b": b"b"}, commit=OTHER))
    archive.summaries()
    return archive, revision


home, case, uid = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if uid:
    build(home / "warm")[0].close()  # afterwards, nothing needs to be imported any more
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)

archive, revision = build(home / "archive")
layout, sha = archive.layout, Digest.of(b"a")
NEW = b"new" * 100
shard = layout.blob(Digest.of(NEW)).parent


def refused(act, *paths, mode=0):
    olds = [(path, path.stat().st_mode & 0o777) for path in paths]
    for path in paths:
        path.chmod(mode)
    try:
        act()
    except StorageError as error:
        assert len(str(error).splitlines()) == 1
        assert error.hint
    else:
        raise SystemExit(f"not refused: {case}")
    finally:
        for path, old in reversed(olds):
            path.chmod(old)


def new_blob():
    with archive.writer() as writer:
        put(archive, writer, NEW)


def new_manifest():
    with archive.writer() as writer:
        archive.put_revision(writer, revision_of({}, commit=None))


def new_ref():
    with archive.writer() as writer:
        archive.refs.put(writer, REPO, Ref("v2", COMMIT))


def again():
    Archive(layout.home).close()


def fresh_index():
    # Doing without an index is as good as saying that none can be made.
    archive.close()
    layout.index.unlink()
    try:
        refused(again, layout.home, mode=0o555)
    except SystemExit:
        pass


def leftover():
    #The last process died just before the rename: the file is there, read-only.
    entry = entry_of("x", b"x")
    with archive.partial(entry) as partial:
        partial.write(0, b"x")
    partial.path.chmod(0o444)
    with archive.partial(entry) as partial, archive.writer() as writer:
        assert list(partial.have) == [1]
        partial.finish(writer, entry.sha256)
    assert archive.has(entry.sha256, 1)


ref = layout.repo_refs(REPO) / "main"
draft = layout.draft(REPO, OTHER)
mine = home / "mine"
mine.mkdir()
manifest = layout.manifest(revision.digest)

{
    "put a blob": lambda: refused(new_blob, layout.blobs, mode=0o555),
    "put a manifest": lambda: refused(new_manifest, layout.manifests, mode=0o555),
    "set a ref": lambda: refused(new_ref, ref.parent, mode=0o555),
    "delete a ref": lambda: refused(lambda: archive.refs.delete(REPO, "main"), ref.parent,
                                    mode=0o555),
    "read a ref": lambda: refused(lambda: archive.refs.get(REPO, "main"), ref),
    "list refs": lambda: refused(lambda: archive.refs.list(REPO), ref.parent),
    "read about": lambda: refused(lambda: archive.refs.about(REPO), ref.parent),
    "open a writer": lambda: refused(archive.writer, layout.tmp, mode=0o555),
    "take the lock": lambda: refused(archive.writer, layout.lock, mode=0o000),
    "open a partial": lambda: refused(lambda: archive.partial(entry_of("x", b"x")),
                                      layout.partial, mode=0o555),
    "count a partial": lambda: refused(lambda: present_bytes(layout, "x", 1), layout.partial),
    "add to a draft": lambda: refused(
        lambda: archive.drafts.add(REPO, OTHER, [entry_of("b", b"b")]), draft, mode=0o444),
    "read a draft": lambda: refused(lambda: archive.drafts.load(REPO, OTHER), draft),
    "read all drafts": lambda: refused(lambda: list(archive.drafts.all()), draft),
    "list all drafts": lambda: refused(lambda: list(archive.drafts.all()), draft.parent),
    "list all copies": lambda: (
        layout.copies.mkdir(), refused(lambda: list(all_copies(layout)), layout.copies)),
    "delete a draft": lambda: refused(lambda: archive.drafts.delete(REPO, OTHER), draft.parent,
                                      mode=0o555),
    "read a manifest": lambda: refused(lambda: archive.load(REPO, COMMIT), manifest),
    "delete a revision": lambda: refused(lambda: archive.delete_revision(REPO, COMMIT),
                                         layout.manifests, mode=0o555),
    "read a blob": lambda: refused(lambda: archive.open(sha), layout.blob(sha)),
    "has a blob": lambda: refused(lambda: archive.has(sha, 1), layout.blob(sha).parent),
    "path of a blob": lambda: refused(lambda: archive.path(sha), layout.blob(sha).parent),
    "list blobs": lambda: refused(lambda: list(archive.blobs()), layout.blob(sha).parent),
    "collect, no lock": lambda: refused(lambda: list(collect(archive, dry_run=False)),
                                        layout.lock),
    "collect, no manifest": lambda: refused(lambda: list(collect(archive, dry_run=False)),
                                            manifest),
    "collect, no manifests": lambda: refused(lambda: list(collect(archive, dry_run=False)),
                                             layout.manifests),
    "collect, no drafts": lambda: refused(lambda: list(collect(archive, dry_run=False)),
                                          layout.drafts),
    "collect, no draft": lambda: refused(lambda: list(collect(archive, dry_run=False)), draft),
    "collect, no quarantine": lambda: (
        archive.quarantine(layout.blob(sha)),
        refused(lambda: list(collect(archive, dry_run=False)), layout.quarantine)),
    "collect, no blobs": lambda: refused(lambda: list(collect(archive, dry_run=False)),
                                         layout.blobs),
    "open without access": lambda: refused(again, layout.home),
    "open without its marker": lambda: refused(again, layout.marker),
    "create without access": lambda: refused(
        lambda: Archive(home / "mine/x", create=True), mine, mode=0o555),
    "take up a read-only leftover": leftover,
    "make an index": fresh_index,
}[case]()
print("passed")
"""

NAMES = [line.split('"')[1] for line in CASES.splitlines() if line.startswith('    "')]


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A folder that every user may use, below folders that every user may pass."""
    home = Path(tempfile.mkdtemp(prefix="outlast-permissions-"))
    home.chmod(0o777)
    yield home
    subprocess.run(["chmod", "-R", "u+rwX", str(home)], check=True)
    shutil.rmtree(home)


@pytest.mark.parametrize("case", NAMES)
def test_what_is_not_permitted_is_said_so(open_home: Path, case: str) -> None:
    if not hasattr(os, "geteuid"):
        pytest.skip("needs POSIX permissions")
    uid = 65534 if os.geteuid() == 0 else 0
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), root]))
    done = subprocess.run(
        [sys.executable, "-c", CASES, str(open_home), case, str(uid)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    if "setgroups" in done.stderr or "setuid" in done.stderr:
        pytest.skip("this root may not become another user")
    assert done.stdout.strip() == "passed", (done.stdout + done.stderr)[-900:]
