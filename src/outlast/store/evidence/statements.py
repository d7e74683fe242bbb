"""Which signed statements are evidence of what came: it stays when its revision goes."""

import base64
import binascii
from typing import Final

from outlast.core.errors import MalformedError
from outlast.core.manifest import load_json

ACQUISITION: Final = "urn:outlast:acquisition:v1"
TIMESTAMP: Final = "urn:outlast:timestamp:v1"
EVIDENCE: Final = frozenset({ACQUISITION, TIMESTAMP})


def is_evidence(data: bytes) -> bool:
    """Whether the file of a statement is evidence, as it says itself; no signature is
    checked.
    """
    try:
        envelope = load_json(data, len(data))
        payload = envelope["payload"] if isinstance(envelope, dict) else ""
        body = base64.b64decode(payload, validate=True)
        statement = load_json(body, len(body))
    except (MalformedError, KeyError, TypeError, ValueError, binascii.Error):
        return False
    return isinstance(statement, dict) and statement.get("predicateType") in EVIDENCE
