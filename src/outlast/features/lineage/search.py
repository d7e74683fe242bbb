"""The sketches of an archive: made once for each manifest, and searched."""

import contextlib
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import OutlastError
from outlast.features.lineage import sketch as sketches
from outlast.features.lineage.sketch import Sketch, nearness
from outlast.features.lineage.tuning import TUNING, Tuning
from outlast.features.lineage.weights import Weights, weight_files
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.index import Summary

_log = logging.getLogger(__name__)
FOLDER: Final = "sketches"
"""In the archive's folder."""


@dataclass(frozen=True, slots=True)
class NearModel:
    """A model whose sketch is near, or cannot be compared (`nearness` is then None)."""

    summary: Summary
    nearness: float | None


def near_models(
    archive: Archive,
    asked: Weights,
    others: Iterable[Summary],
    *,
    control: Control,
    tuning: Tuning = TUNING,
) -> list[NearModel]:
    """The nearest first, at most `tuning.most_near`; behind them those that have weights and share
    no place with the model. Makes sketches that are missing.
    """
    mine = sketches.from_bytes(sketches.to_bytes(sketches.sketch_of(asked)))
    assert mine is not None
    store = SketchStore(archive)
    known: list[NearModel] = []
    for summary in others:
        control.cancel.check()
        theirs = store.of(summary)
        if theirs is None:
            continue
        if not mine.slots.keys() & theirs.slots.keys():
            known.append(NearModel(summary, None))
        elif (value := nearness(mine, theirs)) >= tuning.near:
            known.append(NearModel(summary, value))
    store.tidy()
    known.sort(key=lambda near: -1.0 if near.nearness is None else near.nearness, reverse=True)
    return known[: tuning.most_near]


class SketchStore:
    """Sketches by manifest. An archive that cannot be written to has none that stay."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._folder = archive.layout.home / FOLDER
        self._seen: set[str] = set()

    def of(self, summary: Summary) -> Sketch | None:
        """None for a draft, for a model without weights, and for one that cannot be read."""
        if summary.digest is None:
            return None
        path = self._path(summary.digest)
        self._seen.add(path.name)
        data = disk.read_plain(path, sketches.MOST_BYTES)
        found = None if data is None else sketches.from_bytes(data)
        return self._make(summary, path) if found is None else found

    def _path(self, manifest: Digest) -> Path:
        return self._folder / sketches.file_name(manifest)

    def _make(self, summary: Summary, path: Path) -> Sketch | None:
        try:
            revision = self._archive.load(summary.repo, summary.revision)
            if revision is None or not weight_files(revision):
                data = sketches.to_bytes({})
            else:
                with Weights(self._archive, revision) as weights:
                    data = sketches.to_bytes(sketches.sketch_of(weights))
        except OutlastError as error:
            _log.debug("no sketch of %s: %s", summary.repo, error)
            return None
        try:
            with self._archive.writer() as writer:
                writer.write(path, data)
        except OutlastError as error:
            _log.debug("the sketch of %s is not kept: %s", summary.repo, error)
        return sketches.from_bytes(data)

    def tidy(self) -> None:
        """Removes sketches of manifests that are no longer here."""
        with contextlib.suppress(OSError):
            for name in disk.listed(self._folder):
                digest = name.partition(".")[0]
                gone = Digest.is_valid(digest) and name not in self._seen
                if gone and not self._archive.layout.manifest(Digest(digest)).exists():
                    os.unlink(self._folder / name)
