"""`outlast ls` of a large archive against `ls -R` of its folder; and how fast we start."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from bench import profiling
from bench.process import timed
from bench.rows import OURS, Row, Target, absolute, alternate, paired
from bench.stage import Stage
from outlast.codec.hashing import names_of
from outlast.core.digest import GitOid
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.records.refs import Ref
from outlast.store.writer import WriteSession

_MODELS = 100
_REVISIONS = 10
_FILES = 20
_LS = "ls -R"


def listing(stage: Stage) -> list[Row]:
    """A thousand revisions of twenty files each, all of them different."""
    home = stage.folder / "listed"
    build(home)
    out = stage.environment()

    def ours() -> float:
        return stage.outlast("ls", "--home", home).wall

    def rebuilt() -> float:
        for suffix in ("", "-wal", "-shm"):
            (home / f"index.sqlite{suffix}").unlink(missing_ok=True)
        return ours()

    def theirs() -> float:
        return timed(["ls", "-R", home], out).wall

    first = [rebuilt() for _ in range(2)]
    theirs()
    samples = alternate({OURS: ours, _LS: theirs}, max(stage.pairs, 9))
    what = f"ls, {_MODELS * _REVISIONS:,} revisions of {_FILES} files"
    rows = [
        paired(what, "s", samples, _LS, target=Target("<", 10)),
        absolute(f"{what}: the first after the index was lost", "s", first, target=None),
    ]
    rows = profiling.explained(rows, lambda: profiling.of_command(stage, "ls", "--home", home))
    shutil.rmtree(home)
    return rows


def build(home: Path) -> None:
    # Nothing here has to survive a crash, and 60,000 syncs would take minutes.
    with (
        mock.patch("os.fsync"),
        Archive(home, create=True) as archive,
        archive.writer() as writer,
    ):
        for model in range(_MODELS):
            repo = RepoId.parse(f"bench/model-{model:03}")
            for number in range(_REVISIONS):
                files = list(_files(archive, writer))
                revision = Revision.of(repo, GitOid(os.urandom(20).hex()), files)
                writer.write(archive.layout.manifest(revision.digest), revision.to_bytes())
                archive.refs.put(writer, repo, Ref(f"v{number}", revision.id))


def _files(archive: Archive, writer: WriteSession) -> Iterator[FileEntry]:
    for number in range(1, _FILES + 1):
        data = os.urandom(64)
        names = names_of(data)
        archive.put(writer, data, names)
        path = f"model-{number:05}-of-{_FILES:05}.safetensors"
        yield FileEntry(path, names.size, names.sha256, None, names.merkle_root)


def start(stage: Stage) -> list[Row]:
    """CPU seconds of the shortest command; beside it, those of Python alone."""
    stage.outlast("--help")
    ours: list[float] = []
    python: list[float] = []
    for _ in range(max(stage.pairs, 9)):
        ours.append(stage.outlast("--help").cpu)
        python.append(timed([sys.executable, "-c", "pass"], stage.environment()).cpu)
    beside = {"python -c pass": sorted(python)[len(python) // 2]}
    target = Target("≤", 0.25, absolute=True)
    return [absolute("outlast --help", "CPU-s", ours, target=target, peers=beside)]
