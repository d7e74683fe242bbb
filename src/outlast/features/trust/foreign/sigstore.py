"""Checks a signature by a short-lived certificate of sigstore, offline: its certificate leads to
the operator's trust root, was logged, and was valid when the log took the signature in; the log's
signed proof has just this signature over just this text.

The checks are those of the library `sigstore`. Around it: bounds before it reads, the dates of the
trust root, and who the signer is.
"""

import datetime as dt
import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from outlast.core.errors import IntegrityError, MalformedError, one_line
from outlast.features.trust.foreign.sigstore_identity import identity_of
from outlast.features.trust.foreign.sigstore_root import SigstoreRoot
from outlast.features.trust.keys.identities import SigstoreIdentity

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_log = logging.getLogger(__name__)
# It warns of each key of a trust root that it does not know; a verdict says what follows.
logging.getLogger("sigstore").addHandler(logging.NullHandler())
_MOST_WHY: Final = 200
_MOST_TIMESTAMPS: Final = 8
"""Guess: signers ask one authority."""


@dataclass(frozen=True, slots=True)
class SigstoreSigned:
    """`identity` signed `payload` at a time that a log or a timestamp authority vouches for."""

    identity: SigstoreIdentity
    at: dt.datetime
    payload: bytes


@dataclass(frozen=True, slots=True)
class SigstoreBundle:
    """The file of a signature, of which nothing is believed yet. `log`: the id of its log;
    `times`: when log and timestamp authorities say that it was there.
    """

    bundle: Any
    log: bytes
    times: tuple[dt.datetime, ...]

    @classmethod
    def read(cls, data: bytes) -> "SigstoreBundle":
        """Of a document whose size and parts were bounded. Raises :class:`MalformedError`."""
        from sigstore.models import Bundle  # noqa: PLC0415 - an extra, and 1 s to import
        from sigstore_models.bundle.v1 import Bundle as Parts  # noqa: PLC0415

        with _library():
            bundle = Bundle.from_json(data)
            material = Parts.from_json(data).verification_material
            (entry,) = material.tlog_entries
            stamps = material.timestamp_verification_data
            times = list(_stamped(stamps.rfc3161_timestamps if stamps else ()))
            if entry.inclusion_promise and entry.integrated_time:
                times.insert(0, dt.datetime.fromtimestamp(entry.integrated_time, dt.UTC))
            if not times:
                raise MalformedError("nothing in it says when it was signed")
            return cls(bundle, entry.log_id.key_id, tuple(times))

    def verified(self, root: SigstoreRoot) -> SigstoreSigned:
        """Raises :class:`IntegrityError` where it does not lead to the trust root, or is of
        something else, and :class:`MalformedError`.
        """
        from sigstore.models import TrustedRoot  # noqa: PLC0415 - an extra
        from sigstore.verify.verifier import Verifier  # noqa: PLC0415

        with _library():
            certificate = self.bundle.signing_certificate
            self._require_valid(certificate)
            verifier = Verifier(trusted_root=TrustedRoot(root.at(self.times)))
            _, payload = verifier.verify_dsse(self.bundle, _AnyIdentity())
            return SigstoreSigned(identity_of(certificate), min(self.times), payload)

    def _require_valid(self, certificate: "Certificate") -> None:
        for at in self.times:
            if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
                raise IntegrityError(f"its certificate was not valid at {at.isoformat()}")


class _AnyIdentity:
    """What the library asks of a certificate; whose it is, the pins say afterwards."""

    def verify(self, cert: "Certificate") -> None:
        """Takes any."""


def _stamped(stamps: Any) -> Iterator[dt.datetime]:
    from rfc3161_client import decode_timestamp_response  # noqa: PLC0415 - an extra

    if len(stamps) > _MOST_TIMESTAMPS:
        raise MalformedError(f"it has more than {_MOST_TIMESTAMPS} timestamps")
    for one in stamps:
        yield decode_timestamp_response(one.signed_timestamp).tst_info.gen_time


@contextmanager
def _library() -> Iterator[None]:
    """What the library says of bytes of a stranger: some of it are errors of what it uses."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - an extra
    from cryptography.x509 import (  # noqa: PLC0415
        DuplicateExtension,
        ExtensionNotFound,
        UnsupportedGeneralNameType,
    )
    from sigstore.errors import CertValidationError, Error  # noqa: PLC0415

    try:
        yield
    except (IntegrityError, MalformedError):
        raise
    except CertValidationError as error:
        _log.debug("%s", error)
        raise IntegrityError("its certificate does not lead to your trust root") from None
    except Error as error:
        _log.debug("%s", error)
        raise IntegrityError(_said(str(error))) from None
    except (
        *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError, OSError),
        *(struct.error, UnsupportedAlgorithm, DuplicateExtension, ExtensionNotFound),
        UnsupportedGeneralNameType,
    ) as error:
        raise MalformedError(f"not a signature: {one_line(str(error), _MOST_WHY)}") from None


_MEANINGS: Final = (  # how the library's messages begin, and what they come to
    ("failed to load bundle", "it is not written as a bundle is"),
    ("failed to verify SCT", "no log of certificates in your trust root has its certificate"),
    ("invalid log entry", "the proof of its log does not match"),
    ("log entry", "its log has another signature"),
    ("transparency log entry is inconsistent", "its log has another signature"),
    ("DSSE: invalid signature", "the signature does not match its certificate"),
)


def _said(text: str) -> str:
    found = (meaning for start, meaning in _MEANINGS if text.startswith(start))
    return next(found, None) or one_line(text, _MOST_WHY)
