"""Screening models against a list of parties."""

import datetime as dt
import time
from functools import partial
from pathlib import Path

from bench.trust.seconds import seconds
from outlast.core.names import Target
from outlast.features.trust.rules.publishers import read_publishers
from outlast.features.trust.screening.known_publishers import KnownPublishers
from outlast.features.trust.screening.list_screen import NamedList
from outlast.features.trust.screening.names.matching import NameIndex
from outlast.features.trust.screening.screen import compare
from outlast.features.trust.screening.subjects import parties_of
from outlast.store.archive import Archive


def measure(folder: Path, lists: Path) -> dict[str, float]:
    """Each model of an archive against the rows of a list; a model is its publisher, those behind
    it, the names in its card, and the same of what it was made from.
    """
    began = time.process_time()
    found = NamedList.parse(f"us-csv={lists}").read(dt.datetime.now(dt.UTC).date(), 30)
    index = NameIndex([found])
    loaded = time.process_time() - began
    known = KnownPublishers(read_publishers(None))
    with Archive(folder) as archive:
        targets = [Target(one.repo, None) for one in archive.summaries()]
        _screen(archive, targets[0], known, index)  # loads what is loaded once
        took = sorted(
            seconds(partial(_screen, archive, target, known, index)) for target in targets
        )
    return {
        "rows": len(found.parties),
        "load": loaded,
        "median": took[len(took) // 2],
        "most": took[-1],
    }


def _screen(archive: Archive, target: Target, known: KnownPublishers, index: NameIndex) -> None:
    compare(parties_of(archive, target, known), index)
