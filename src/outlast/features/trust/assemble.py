"""Puts the assessor of an archive together from settings."""

import functools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from outlast.cli.edge import Session
from outlast.core.claims import Claim, ClaimState, ForeignSignature, Lister, Standing
from outlast.core.digest import Digest
from outlast.core.manifest import Revision
from outlast.features.trust.catalogue.folders import followed_names
from outlast.features.trust.catalogue.library import has_library
from outlast.features.trust.commands.options import read_small
from outlast.features.trust.foreign.openssf_statement import SIGNATURE_FILE
from outlast.features.trust.keys.identities import IdentityPins
from outlast.features.trust.keys.pins import Pin
from outlast.features.trust.records.assessor import FindForeign, TrustAssessor
from outlast.features.trust.settings import TrustSettings
from outlast.store.archive import Archive

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from outlast.features.trust.foreign.sigstore_root import SigstoreRoot

NAME = "trust"


def assessor_of(archive: Archive, settings: TrustSettings) -> TrustAssessor:
    """What says which claims hold in an archive."""
    return TrustAssessor(
        archive, settings.needed, _listers(archive, settings), _foreign(archive, settings)
    )


def _foreign(archive: Archive, settings: TrustSettings) -> FindForeign:
    """What finds signatures of other tools."""

    def roots() -> "Sequence[Certificate]":
        from outlast.features.trust.evidence.timestamp import (  # noqa: PLC0415 - few have any
            MAX_ROOTS,
            read_roots,
        )

        path = settings.signature_roots
        return () if path is None else read_roots(read_small(path, MAX_ROOTS, "certificates"))

    @functools.cache
    def sigstore_root() -> "SigstoreRoot | None":
        from outlast.features.trust.foreign.sigstore_root import (  # noqa: PLC0415 - few have any
            MAX_TRUST_ROOT,
            SigstoreRoot,
        )

        path = settings.sigstore_root
        if path is None:
            return None
        return SigstoreRoot.read(read_small(path, MAX_TRUST_ROOT, "trust root"))

    def find(revision: Revision, pins: Callable[[], list[Pin]]) -> tuple[ForeignSignature, ...]:
        if revision.find(SIGNATURE_FILE) is None:
            return ()
        from outlast.features.trust.foreign.openssf import OpenssfReader  # noqa: PLC0415 - likewise

        reader = OpenssfReader(archive, roots, sigstore_root, IdentityPins(archive).all)
        return reader.signatures(revision, pins)

    return find


def _listers(archive: Archive, settings: TrustSettings) -> list[Lister]:
    """The catalogues that are followed; none where their library is not installed."""
    if not has_library():
        return []
    return [_LateLister(archive.layout.home, settings.catalogues)]


class _LateLister:
    """Implements :class:`Lister`. The library of catalogues takes 0.1 s to import: that is done
    when the first one is followed, which may be while a server runs.
    """

    def __init__(self, home: Path, deciding: Collection[str]) -> None:
        self._home = home
        self._deciding = deciding

    @functools.cached_property
    def _lister(self) -> Lister:
        from outlast.features.trust.catalogue.using.lister import (  # noqa: PLC0415 - few have any
            CatalogueLister,
        )

        return CatalogueLister(self._home, deciding=self._deciding)

    def listed(self, manifest: Digest, revision: Revision) -> ClaimState:
        if not followed_names(self._home):
            return ClaimState(Claim.LISTED, Standing.ABSENT)
        return self._lister.listed(manifest, revision)


def trust_assessor(run: Session, archive: Archive) -> TrustAssessor:
    """The same for a command of this feature."""
    return assessor_of(archive, run.config.features.get(NAME, TrustSettings()))
