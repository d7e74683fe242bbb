"""Signs the statements of other features with the user's keys."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import rfc8785

from outlast.core.errors import BadSignatureError, MalformedError
from outlast.features.trust.commands.options import own_keys, signers
from outlast.features.trust.keys.public import parse_line
from outlast.features.trust.keys.verifying import verify
from outlast.features.trust.records.dsse import (
    MOST_SIGNATURES,
    DsseEnvelope,
    Signature,
    strict_json,
)

_MOST: Final = 64 * 1024


class KeyStatementSigner:
    """Implements :class:`~outlast.cli.feature.StatementSigner`."""

    def names(self) -> list[str]:
        return [one.name for one in own_keys().all()]

    def sign(
        self, statement: Mapping[str, Any], keys: Sequence[str], passphrase_file: Path | None
    ) -> bytes:
        by = signers(keys, passphrase_file)
        predicate = {**statement["predicate"], "keys": sorted(one.key.line for one in by)}
        payload = rfc8785.dumps({**statement, "predicate": predicate})
        message = DsseEnvelope(payload, ()).message
        made = [Signature(one.key.fingerprint, one.sign(message)) for one in by]
        return DsseEnvelope.of(payload, made).to_bytes()

    def check(self, envelope: bytes) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        found = DsseEnvelope.read(envelope)
        said = strict_json(found.payload, _MOST, "the statement")
        predicate = said.get("predicate")
        lines = predicate.get("keys") if isinstance(predicate, dict) else None
        if not isinstance(lines, list) or not 1 <= len(lines) <= MOST_SIGNATURES:
            raise MalformedError(f"a statement names 1 to {MOST_SIGNATURES} keys that signed it")
        keys = {key.fingerprint: key for key in (parse_line(str(line)) for line in lines)}
        by_id = {one.key_id: one.data for one in found.signatures}
        if set(keys) != set(by_id):
            raise BadSignatureError("the signatures are not by the keys that are named")
        for name, key in keys.items():
            if not verify(key, found.message, by_id[name]):
                raise BadSignatureError(f"the signature by {key.short} is not right")
        return said, tuple(keys)
