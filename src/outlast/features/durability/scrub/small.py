"""The small things of an archive: manifests, refs and other records with their second copies,
attestations, and the index. They are few bytes, so each scrub checks all of them.
"""

from collections.abc import Callable, Iterator

from outlast.core.cancel import Cancel
from outlast.core.errors import IntegrityError
from outlast.features.durability.scrub.attestations import check_attestations
from outlast.features.durability.scrub.found import UNTOUCHED, DamagedPart, FoundDamage
from outlast.features.durability.scrub.manifests import Askable, damaged_manifests, mend_manifest
from outlast.ops import mend
from outlast.store.archive import Archive
from outlast.store.records.survey import survey

Ask = Callable[[], Askable]
"""Who may be asked: it is found out when it is needed."""


def check_small(archive: Archive, ask: Ask | None, cancel: Cancel) -> Iterator[FoundDamage]:
    """Checks all of them, and mends what is damaged, unless `ask` is None."""
    yield from _records(archive, mends=ask is not None)
    all_right = True
    for digest, problem in damaged_manifests(archive, cancel):
        if ask is not None:
            found = mend_manifest(archive, digest, problem, ask())
        else:
            name = archive.layout.name_of(archive.layout.manifest(digest))
            found = FoundDamage(
                DamagedPart.MANIFEST, name, problem, mended=False, why_not=UNTOUCHED
            )
        all_right &= found.mended
        yield found
    yield from check_attestations(archive, cancel, mends=ask is not None)
    cancel.check()
    if all_right:  # else it may be all that knows what a damaged one was of
        yield from _index(archive, mends=ask is not None)


def _records(archive: Archive, *, mends: bool) -> Iterator[FoundDamage]:
    damaged = {one.name: one.text for one in survey(archive).damaged}
    if not mends:
        for name, text in damaged.items():
            yield FoundDamage(DamagedPart.RECORD, name, text, mended=False, why_not=UNTOUCHED)
    elif damaged:
        for one in mend.mend(archive.layout.home):
            problem = damaged.get(one.name, "it was damaged")
            restored = one.outcome is mend.Fate.RESTORED
            why_not = "" if restored else f"it is set aside; lost: {one.lost}"
            yield FoundDamage(
                DamagedPart.RECORD, one.name, problem, mended=restored, why_not=why_not
            )


def _index(archive: Archive, *, mends: bool) -> Iterator[FoundDamage]:
    """It follows from the manifests, and is made anew."""
    try:
        problem = "it is not what the manifests say" if archive.index.differs() else ""
    except IntegrityError as error:
        problem = str(error)
    if not problem:
        return
    name = archive.layout.name_of(archive.layout.index)
    if not mends:
        yield FoundDamage(DamagedPart.INDEX, name, problem, mended=False, why_not=UNTOUCHED)
        return
    archive.index.rebuild()
    archive.forms.capsules()  # reads their trailers
    yield FoundDamage(DamagedPart.INDEX, name, problem, mended=True)
