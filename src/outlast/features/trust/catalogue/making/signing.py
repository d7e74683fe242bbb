"""Signs metadata of catalogues, and lays the entries of a role out in lists."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import (
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)

from outlast.features.trust.catalogue.listing import CatalogueRole, succinct
from outlast.features.trust.catalogue.names import bins_prefix
from outlast.features.trust.catalogue.tuning import TUNING, CatalogueTuning


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs for a role: its keys by their ids, and how many of them must."""

    keys: Mapping[str, Key]
    threshold: int

    @classmethod
    def of(cls, role: Role, keys: Mapping[str, Key]) -> "Authority":
        return cls({keyid: keys[keyid] for keyid in role.keyids if keyid in keys}, role.threshold)


def write_signed(
    signed: Root | Timestamp | Snapshot | Targets, signers: Sequence[CryptoSigner]
) -> bytes:
    """The file of metadata, signed by each of the signers."""
    made: Metadata[Any] = Metadata(signed)
    for signer in signers:
        made.sign(signer, append=True)
    return made.to_bytes()


def meta_file(version: int, data: bytes) -> MetaFile:
    """What a snapshot or timestamp says of a file."""
    return MetaFile.from_data(version, data, ["sha256"])


def later(now: datetime, seconds: int) -> datetime:
    return (now + timedelta(seconds=seconds)).replace(microsecond=0)


def bits_for(count: int, bits: int, tuning: CatalogueTuning = TUNING) -> int:
    """The bits of the bins of a role that has `bits` now, for so many entries; 0: no bins. They
    never become fewer.
    """
    if count <= tuning.most_per_bin << bits:
        return bits
    return min(tuning.bin_bits, max(bits, math.ceil(math.log2(count / tuning.per_bin))))


def lay_out(
    role: CatalogueRole,
    entries: Mapping[str, TargetFile],
    head: Targets | None,
    authority: Authority,
    tuning: CatalogueTuning = TUNING,
) -> dict[str, tuple[dict[str, TargetFile], Delegations | None]]:
    """The lists of a role that has these entries: for each its targets and delegations. `head` is
    the role's own list as it is.
    """
    now = succinct(None if head is None else head.delegations)
    bits = bits_for(len(entries), 0 if now is None else now.bit_length, tuning)
    if not bits:
        return {role.name: (dict(entries), None)}
    bins = SuccinctRoles(
        sorted(authority.keys), authority.threshold, bits, bins_prefix(role.name, bits)
    )
    found: dict[str, tuple[dict[str, TargetFile], Delegations | None]] = {
        role.name: ({}, Delegations(dict(authority.keys), succinct_roles=bins))
    }
    for name in bins.get_roles():
        found[name] = ({}, None)
    for path, target in entries.items():
        found[bins.get_role_for_target(path)][0][path] = target
    return found
