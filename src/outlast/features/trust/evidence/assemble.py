"""Puts the recorder of an archive together from settings."""

from outlast.core.errors import BadKeyError
from outlast.features.trust.evidence.recorder import EvidenceRecorder
from outlast.features.trust.keys.signing import Signer, open_signer
from outlast.features.trust.settings import TrustSettings
from outlast.store.archive import Archive


def recorder_of(archive: Archive, settings: TrustSettings) -> EvidenceRecorder:
    """What keeps evidence of pulls in an archive."""
    if not settings.evidence_key:
        return EvidenceRecorder(archive, settings)

    def signer() -> Signer:
        # The Python API leaves records too, and imports no commands.
        from outlast.features.trust.commands.options import own_keys  # noqa: PLC0415

        return open_signer(settings.evidence_key, own_keys(), _no_passphrase)

    return EvidenceRecorder(archive, settings, signer)


def _no_passphrase(name: str) -> bytes:
    """A pull asks for none: it may run unattended."""
    raise BadKeyError(f"the key {name} has a passphrase", hint="'evidence-key' needs one without")
