"""Screens models: compares the names behind each with the lists, and notes it in the log."""

import datetime as dt
from collections.abc import Iterator, Sequence

from outlast.core.control import Control
from outlast.core.names import Target
from outlast.features.trust.screening.names.matching import ListedHit, NameIndex
from outlast.features.trust.screening.publisher_facts import PublisherFacts
from outlast.features.trust.screening.screened import ScreenedName, Screening
from outlast.features.trust.screening.screening_log import ScreeningLog
from outlast.features.trust.screening.subjects import ModelParties, parties_of
from outlast.store.archive import Archive


def compare(parties: ModelParties, index: NameIndex) -> Screening:
    """Pure: the names of a model against the lists of `index`. Each name is compared once."""
    known: dict[tuple[str, bool], tuple[ListedHit, ...]] = {}
    names = []
    for name in parties.names:
        key = name.text, name.is_handle
        if key not in known:
            known[key] = index.find(name.text, handle=name.is_handle)
        names.append(ScreenedName(name, known[key]))
    return Screening(
        parties.repo, parties.commit, tuple(names), tuple(parties.unknown), index.lists
    )


def screen(
    archive: Archive,
    targets: Sequence[Target],
    index: NameIndex,
    publishers: PublisherFacts,
    log: ScreeningLog,
    *,
    now: dt.datetime,
    control: Control,
) -> Iterator[Screening]:
    """Screens each target; it is in the log before it is returned."""
    for target in targets:
        control.cancel.check()
        found = compare(parties_of(archive, target, publishers), index)
        log.append(found, now)
        yield found
