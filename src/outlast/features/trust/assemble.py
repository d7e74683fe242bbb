"""Puts the assessor of an archive together from settings."""

from pathlib import Path

from outlast.cli.edge import Session
from outlast.core.claims import Lister
from outlast.features.trust.catalogue.library import has_library
from outlast.features.trust.records.assessor import TrustAssessor
from outlast.features.trust.settings import TrustSettings
from outlast.store.archive import Archive

NAME = "trust"


def assessor_of(archive: Archive, settings: TrustSettings) -> TrustAssessor:
    """What says which claims hold in an archive."""
    return TrustAssessor(archive, settings.needed, _listers(archive.layout.home))


def _listers(home: Path) -> list[Lister]:
    """The catalogues that are followed; none where their library is not installed."""
    if not has_library():
        return []
    from outlast.features.trust.catalogue.using.lister import (  # noqa: PLC0415 - of [trust]
        CatalogueLister,
    )

    return [CatalogueLister(home)]


def trust_assessor(run: Session, archive: Archive) -> TrustAssessor:
    """The same for a command of this feature."""
    return assessor_of(archive, run.config.features.get(NAME, TrustSettings()))
