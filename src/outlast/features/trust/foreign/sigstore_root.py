"""Whom signatures of sigstore have to lead to: the file `trusted_root.json`, which the operator
supplies. It has the authorities that give certificates, the logs and the timestamp authorities,
each with the time for which it counts.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from outlast.core.errors import BadConfigError, IntegrityError, MalformedError, one_line
from outlast.core.manifest import load_json

if TYPE_CHECKING:
    from sigstore_models.trustroot.v1 import TrustedRoot

MAX_TRUST_ROOT: Final = 1024 * 1024
"""Bytes: that of the public instance has 7 KB."""
_MOST_PARTS: Final = 10_000
_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"


@dataclass(frozen=True, slots=True)
class SigstoreRoot:
    """A trust root that was read."""

    inner: "TrustedRoot"

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Raises :class:`BadConfigError`: it is a file of the operator."""
        from sigstore_models.trustroot.v1 import TrustedRoot  # noqa: PLC0415 - an extra

        try:
            load_json(data, MAX_TRUST_ROOT, containers=_MOST_PARTS)
            inner = TrustedRoot.from_json(data)
        except (MalformedError, ValueError, TypeError) as error:
            raise _bad(one_line(str(error), 200)) from None
        if inner.media_type != _MEDIA_TYPE:
            raise _bad(f"of another type: {one_line(str(inner.media_type), 100)}")
        return cls(inner)

    def has_log(self, log: bytes) -> bool:
        """Whether the log with this id is in it, at whatever time."""
        return any(one.log_id.key_id == log for one in self.inner.tlogs)

    def at(self, times: Sequence[dt.datetime]) -> "TrustedRoot":
        """What of it counts at all these times. (The library compares the dates of certificates,
        and not those of the file.) Raises :class:`IntegrityError` where nothing of a kind does.
        """
        kinds: dict[str, tuple[str, list[Any]]] = {
            "tlogs": ("log", [(one, one.public_key.valid_for) for one in self.inner.tlogs]),
            "certificate_authorities": (
                "authority for certificates",
                [(one, one.valid_for) for one in self.inner.certificate_authorities],
            ),
            "ctlogs": (
                "log of certificates",
                [(one, one.public_key.valid_for) for one in self.inner.ctlogs],
            ),
        }
        left = {}
        for name, (called, rows) in kinds.items():
            left[name] = [one for one, span in rows if all(_covers(span, at) for at in times)]
            if not left[name]:
                when = times[0].isoformat() if times else "that time"
                raise IntegrityError(f"no {called} of your trust root counts at {when}")
        return self.inner.model_copy(update=left)


def _covers(span: Any, at: dt.datetime) -> bool:
    """Whether a time is in what a file says; a span without a start is of no time."""
    if span is None or span.start is None:
        return False
    return bool(span.start <= at and (span.end is None or at <= span.end))


def _bad(why: str) -> BadConfigError:
    return BadConfigError(
        f"[trust]: the file of 'sigstore-root' is no trust root of sigstore: {why}",
        hint="a trusted_root.json, as 'cosign trusted-root create' writes it",
    )
