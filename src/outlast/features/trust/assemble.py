"""Puts the assessor of an archive together from settings."""

from outlast.cli.edge import Session
from outlast.features.trust.catalogue.using.lister import CatalogueLister
from outlast.features.trust.records.assessor import TrustAssessor
from outlast.features.trust.settings import TrustSettings
from outlast.store.archive import Archive

NAME = "trust"


def assessor_of(archive: Archive, settings: TrustSettings) -> TrustAssessor:
    """What says which claims hold in an archive."""
    return TrustAssessor(archive, settings.needed, [CatalogueLister(archive.layout.home)])


def trust_assessor(run: Session, archive: Archive) -> TrustAssessor:
    """The same for a command of this feature."""
    return assessor_of(archive, run.config.features.get(NAME, TrustSettings()))
