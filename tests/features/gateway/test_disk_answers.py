"""What a caller of the gateway hears where the disk of this machine is the trouble."""

import pytest

from outlast.core.errors import (
    BusyError,
    CorruptError,
    DiskFullError,
    ExhaustedError,
    OutlastError,
    StorageError,
    UsageError,
)
from outlast.features.gateway.dialects import DIALECTS
from outlast.features.gateway.serving.gateway import _answer_to

LEDGER = "/srv/secret/gateway/usage.sqlite"


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DiskFullError(f"{LEDGER}: database or disk is full"), 503),
        (StorageError(f"{LEDGER}: disk I/O error"), 503),
        (CorruptError(f"{LEDGER} is damaged"), 503),
        (BusyError(f"{LEDGER}: another process holds it"), 503),
        (ExhaustedError("too many open files"), 503),
        (UsageError("no such field"), 400),
    ],
)
def test_it_is_not_the_callers_fault(name: str, error: OutlastError, status: int) -> None:
    """And it names no path of the server."""
    reply = _answer_to(error, DIALECTS[name])
    assert reply.status == status
    assert isinstance(reply.body, bytes)
    assert b"secret" not in reply.body
