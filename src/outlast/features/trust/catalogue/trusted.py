"""What is believed of a TUF repository, step by step: a pure value, without files or network.

The rules are those of "Detailed client workflow" in the specification of TUF 1.0.33, but for two.
Metadata that has expired may still take the place of older one, and says since when it is stale:
an archive has to work offline, and with a clock that is wrong. With `strict` it is refused, as the
specification has it. And a role that two others delegate to ("diamond") is refused.
"""

from datetime import datetime
from typing import Final

from tuf.api.metadata import MetaFile, Root, Snapshot, Targets, Timestamp

from outlast.core.errors import CatalogueRefusedError
from outlast.features.trust.catalogue.library import refusing
from outlast.features.trust.catalogue.reading import (
    read_root,
    read_snapshot,
    read_targets,
    read_timestamp,
)
from outlast.features.trust.catalogue.tuning import TUNING, CatalogueTuning

ROOT: Final = Root.type
TIMESTAMP: Final = Timestamp.type
SNAPSHOT: Final = Snapshot.type
TARGETS: Final = Targets.type


class TrustedSet:
    """Begins with a root that is trusted, and takes the rest in order: roots, timestamp, snapshot,
    targets, delegated roles. What is refused (:class:`CatalogueRefusedError`) changes nothing.
    """

    def __init__(
        self, root: bytes, now: datetime, *, strict: bool = False, tuning: CatalogueTuning = TUNING
    ) -> None:
        self._tuning = tuning
        self._now = now
        self._strict = strict
        read = read_root(root, tuning.root)
        with refusing("the trusted root"):
            read.signed.verify_delegate(ROOT, read.payload, read.signatures)
        self.root = read.signed
        self.timestamp: Timestamp | None = None
        self.snapshot: Snapshot | None = None
        self._roles: dict[str, Targets] = {}
        self._delegators: dict[str, str] = {}

    @property
    def is_final(self) -> bool:
        """Whether the snapshot is the one that the timestamp names."""
        return (
            self.timestamp is not None
            and self.snapshot is not None
            and self.snapshot.version == self.timestamp.snapshot_meta.version
        )

    @property
    def expires(self) -> datetime:
        """When the first of the root, timestamp, snapshot and targets does."""
        parts = (self.root, self.timestamp, self.snapshot, self._roles.get(TARGETS))
        return min(part.expires for part in parts if part is not None)

    @property
    def targets(self) -> Targets:
        """The targets of the top. Raises :class:`CatalogueRefusedError` where they are missing."""
        return self._need(self._roles.get(TARGETS), TARGETS)

    def role(self, name: str, delegator: str) -> Targets | None:
        """A role that was taken from this delegator."""
        return self._roles.get(name) if self._delegators.get(name) == delegator else None

    # Taking

    def take_root(self, data: bytes) -> Root:
        """The next root: signed by the keys of this one, and by its own."""
        read = read_root(data, self._tuning.root)
        with refusing(f"root {read.signed.version}"):
            self.root.verify_delegate(ROOT, read.payload, read.signatures)
            if read.signed.version != self.root.version + 1:
                raise CatalogueRefusedError(
                    f"root {self.root.version + 1} has the version {read.signed.version}"
                )
            read.signed.verify_delegate(ROOT, read.payload, read.signatures)
        self.root = read.signed
        return read.signed

    def take_timestamp(self, data: bytes) -> bool:
        """A timestamp; whether it is newer than the last one. Older ones are refused."""
        self._refuse_expired(self.root.expires, "the root")
        read = read_timestamp(data, self._tuning.timestamp)
        new, old = read.signed, self.timestamp
        with refusing("the timestamp"):
            self.root.verify_delegate(TIMESTAMP, read.payload, read.signatures)
        if old is not None:
            if new.version < old.version:
                raise CatalogueRefusedError(
                    f"rollback: timestamp {new.version} after {old.version}"
                )
            if new.version == old.version:  # whatever it says: the first one stays
                self._refuse_expired(old.expires, "the timestamp")
                return False
            if new.snapshot_meta.version < old.snapshot_meta.version:
                raise CatalogueRefusedError(
                    f"rollback: the timestamp names snapshot {new.snapshot_meta.version} after "
                    f"{old.snapshot_meta.version}"
                )
        self._refuse_expired(new.expires, "the timestamp")
        self.timestamp = new
        return True

    def remember_timestamp(self, data: bytes) -> None:
        """The one that was trusted last: newer ones are compared with it, whenever it expired."""
        read = read_timestamp(data, self._tuning.timestamp)
        with refusing("the last timestamp"):
            self.root.verify_delegate(TIMESTAMP, read.payload, read.signatures)
        self.timestamp = read.signed

    def remember_snapshot(self, data: bytes) -> None:
        """The snapshot that was trusted last; likewise."""
        read = read_snapshot(data, self._tuning.snapshot)
        with refusing("the last snapshot"):
            self.root.verify_delegate(SNAPSHOT, read.payload, read.signatures)
        self.snapshot = read.signed

    def take_snapshot(self, data: bytes) -> Snapshot:
        """The one that the timestamp names. No role may be missing in it, or older, that was in the
        last one.
        """
        timestamp = self._timestamp()
        with refusing("the snapshot"):
            timestamp.snapshot_meta.verify_length_and_hashes(data)
        read = read_snapshot(data, self._tuning.snapshot)
        new, old = read.signed, self.snapshot
        with refusing("the snapshot"):
            self.root.verify_delegate(SNAPSHOT, read.payload, read.signatures)
        if new.version != timestamp.snapshot_meta.version:
            raise CatalogueRefusedError(
                f"snapshot {new.version} in place of {timestamp.snapshot_meta.version}"
            )
        for name, meta in ({} if old is None else old.meta).items():
            found = new.meta.get(name)
            if found is None or found.version < meta.version:
                is_now = "missing" if found is None else f"version {found.version}"
                raise CatalogueRefusedError(
                    f"rollback: {name} was version {meta.version}, and is {is_now}"
                )
        self._refuse_expired(new.expires, "the snapshot")
        self.snapshot = new
        return new

    def check_snapshot(self) -> None:
        """Whether the remembered snapshot may be used on: what the timestamp names, not expired."""
        if not self.is_final:
            raise CatalogueRefusedError("the snapshot is not the one that the timestamp names")
        self._refuse_expired(self._snapshot().expires, "the snapshot")

    def take_role(self, data: bytes, name: str, delegator: str) -> Targets:
        """A list of targets, as the snapshot names it and `delegator` signed for it."""
        if self._delegators.get(name, delegator) != delegator:
            raise CatalogueRefusedError(
                f"two roles delegate to {name!r}: {self._delegators[name]!r} and {delegator!r}"
            )
        self.check_snapshot()
        above = (
            self.root if delegator == ROOT else self._need(self._roles.get(delegator), delegator)
        )
        meta = self.meta_of(name)
        with refusing(f"the list {name!r}"):
            meta.verify_length_and_hashes(data)
        read = read_targets(data, self._tuning.role)
        with refusing(f"the list {name!r}"):
            above.verify_delegate(name, read.payload, read.signatures)
        if read.signed.version != meta.version:
            raise CatalogueRefusedError(
                f"mixed versions: {name!r} is version {read.signed.version}, the snapshot has "
                f"{meta.version}"
            )
        self._refuse_expired(read.signed.expires, f"the list {name!r}")
        self._roles[name] = read.signed
        self._delegators[name] = delegator
        return read.signed

    def has(self, name: str) -> bool:
        """Whether the snapshot has a file of that role."""
        return f"{name}.json" in self._snapshot().meta

    def meta_of(self, name: str) -> MetaFile:
        """What the snapshot says of a role's file."""
        found = self._snapshot().meta.get(f"{name}.json")
        if found is None:
            raise CatalogueRefusedError(f"the snapshot does not have the list {name!r}")
        return found

    # Inside

    def _refuse_expired(self, expires: datetime, what: str) -> None:
        if self._strict and self._now >= expires:
            raise CatalogueRefusedError(f"{what} expired on {expires:%Y-%m-%d %H:%M} UTC")

    def _timestamp(self) -> Timestamp:
        if self.timestamp is None:
            raise CatalogueRefusedError("the catalogue has no timestamp")
        return self.timestamp

    def _snapshot(self) -> Snapshot:
        if self.snapshot is None:
            raise CatalogueRefusedError("the catalogue has no snapshot")
        return self.snapshot

    def _need(self, role: Targets | None, name: str) -> Targets:
        if role is None:
            raise CatalogueRefusedError(f"the list {name!r} was not read")
        return role
