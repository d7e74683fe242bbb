"""Publishing: new lists, a snapshot of all, and last the timestamp that names it.

All files but the root and the timestamp have their version in the name, and are written before
anything refers to them. A crash leaves what was published before, or all of the new.
"""

import os
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signature
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from outlast.core.errors import CatalogueRefusedError, PolicyError
from outlast.features.trust.catalogue.clock import SIGNED, write_time
from outlast.features.trust.catalogue.folders import MODE, read_small, write_small
from outlast.features.trust.catalogue.library import refusing
from outlast.features.trust.catalogue.listing import CatalogueRole, bins_of
from outlast.features.trust.catalogue.making.keyfiles import KeyRing
from outlast.features.trust.catalogue.making.own import OwnCatalogue, read_own
from outlast.features.trust.catalogue.making.signing import (
    Authority,
    later,
    lay_out,
    meta_file,
    write_signed,
)
from outlast.features.trust.catalogue.making.staging import (
    Staged,
    clear_staged,
    read_staged,
    write_staged,
)
from outlast.features.trust.catalogue.names import metadata_path
from outlast.features.trust.catalogue.reading import read_targets
from outlast.features.trust.catalogue.trusted import ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from outlast.features.trust.catalogue.tuning import TUNING
from outlast.store import disk

_KEPT: Final = 10
"""Versions of a file that stay, for followers that are in the middle of a sync."""
_NUMBERED: Final = re.compile(r"([0-9]{1,10})\.(.+)\.json\Z")
_LOCK: Final = "lock"


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing did. `version`: of the snapshot that is published now; `lists` are new in it;
    `waiting`: what could not be, each with what is missing.
    """

    version: int
    lists: tuple[str, ...]
    entries: int
    waiting: tuple[str, ...] = ()
    changed: bool = True


@dataclass(slots=True)
class _Pending:
    """The lists of a role as they are to be: those that are published, or newer ones that lie
    there. `missing`: those that too few keys have signed.
    """

    lists: dict[str, Targets]
    newer: dict[str, bytes] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def locked(folder: Path) -> AbstractContextManager[None]:
    """One process at a time changes a catalogue."""
    with disk.reporting(folder):
        disk.make_dir(folder)
    return disk.locked(folder / _LOCK, exclusive=True)


def publish(folder: Path, ring: KeyRing, now: datetime, *, cosign: bool = False) -> Published:
    """Publishes what is staged, and what publishers have signed; signs the timestamp anew. `cosign`
    adds this ring's signatures to lists that others have signed. Raises :class:`PolicyError` where
    nothing can be signed.
    """
    with locked(folder):
        made = NextCatalogue(read_own(folder, now), ring, now, cosign=cosign)
        staged = read_staged(folder)
        for role in made.own.roles:
            made.relist(role, staged)
        made.renew_top()
        done = made.finish()
        if staged:
            write_staged(folder, staged)
        else:
            clear_staged(folder)
        return done


class NextCatalogue:
    """What is to be published next. `root` and `top` are as they were, or replaced."""

    def __init__(
        self, own: OwnCatalogue, ring: KeyRing, now: datetime, *, cosign: bool = False
    ) -> None:
        self.own = own
        self.top = own.trusted.targets
        self.root = own.root
        self._ring = ring
        self._now = now
        self._cosign = cosign
        self._new: dict[str, tuple[int, bytes]] = {}
        self._new_root: bytes | None = None
        self._waiting: list[str] = []
        self._written: list[tuple[str, int, bytes]] = []

    # Roles that list

    def authority(self, role: CatalogueRole) -> Authority:
        delegations = self.top.delegations
        assert delegations is not None
        assert delegations.roles is not None
        return Authority.of(delegations.roles[role.name], delegations.keys)

    def relist(self, role: CatalogueRole, staged: Staged) -> None:
        """The lists of a role with what is staged for it, which is taken out of `staged` once it is
        signed. All are signed again where they expire soon, or the role has other keys now. Raises
        :class:`PolicyError` where those are needed and not here.
        """
        added = [e for e in staged.added.values() if self.own.role_for(e.name.repo) == role]
        gone = [path for path in staged.removed if self._lists(role, path)]
        authority = self.authority(role)
        pending = self._pending(role, authority)
        if pending.missing:
            if added or gone:
                raise PolicyError(
                    f"lists of {role.name} wait for signatures: {pending.missing[0]}",
                    hint="publish those first: --cosign adds the signatures of your keys",
                )
            self._waiting += pending.missing
            return
        entries = _entries(pending.lists)
        before = dict(entries)
        entries |= {entry.name.path: entry.to_target() for entry in added}
        for path in gone:
            entries.pop(path, None)
        others_sign = [name for name in pending.lists if not self._holds(name, pending, authority)]
        signers = self._ring.signers(authority.keys)
        if others_sign and len(signers) < authority.threshold:
            raise PolicyError(
                f"{role.name} has other keys now, and its lists are not signed with them",
                hint="name the folder of the new keys with --keys, or keep the old key for now",
            )
        due = bool(others_sign) or any(map(self._is_due, pending.lists.values()))
        is_new = not pending.lists and bool(signers)
        if signers and (entries != before or due or is_new):
            self._sign_lists(role, entries, pending, authority, anew=due)
            pending.newer.clear()
        elif entries != before:
            self._waiting.append(
                f"{role.name}: none of its keys is here (needs {authority.threshold})"
            )
            added, gone = [], []  # they stay staged
        for name, data in pending.newer.items():
            self._new[name] = (pending.lists[name].version, data)
        for entry in added:
            staged.added.pop(entry.name.path)
        staged.removed.difference_update(gone)

    def _holds(self, name: str, pending: _Pending, authority: Authority) -> bool:
        """Whether a list is signed by enough of the keys that its role has now."""
        if name in pending.newer:
            return True
        path = metadata_path(name, self._published(name))
        data = read_small(self.own.folder / path, TUNING.role)
        if data is None:
            return False
        read = read_targets(data, TUNING.role)
        return len(_signed_by(read.payload, read.signatures, authority)) >= authority.threshold

    def _lists(self, role: CatalogueRole, path: str) -> bool:
        return any(path in targets.targets for _, targets in self.own.lists_of(role))

    def _is_due(self, targets: Targets) -> bool:
        """Whether a list expires soon: in the last quarter of its life."""
        return targets.expires - self._now < timedelta(seconds=TUNING.list_life / 4)

    def _sign_lists(
        self,
        role: CatalogueRole,
        entries: dict[str, TargetFile],
        pending: _Pending,
        authority: Authority,
        *,
        anew: bool,
    ) -> None:
        signers = self._ring.signers(authority.keys)
        ready = len(signers) >= authority.threshold
        head = pending.lists.get(role.name)
        for name, (targets, delegations) in lay_out(role, entries, head, authority).items():
            known = pending.lists.get(name)
            same = known is not None and (known.targets, known.delegations) == (
                targets,
                delegations,
            )
            if same and not anew and name not in pending.newer:
                continue
            version = self._published(name) + 1
            expires = later(self._now, TUNING.list_life)
            made = Targets(version, None, expires, targets, delegations)
            data = write_signed(made, signers)
            if ready:
                self._new[name] = (version, data)
            else:
                self._written.append((name, version, data))
        if not ready:
            text = f"{role.name}: signed by {len(signers)} of {authority.threshold} keys"
            self._waiting.append(f"{text}; the others sign with --cosign")

    def _published(self, name: str) -> int:
        """The version of a list in the snapshot that is published; 0 for a new one."""
        snapshot = self.own.trusted.snapshot
        assert snapshot is not None
        meta = snapshot.meta.get(f"{name}.json")
        return 0 if meta is None else meta.version

    def _pending(self, role: CatalogueRole, authority: Authority) -> _Pending:
        """The lists of a role, the newer ones that lie there among them."""
        found = _Pending({})
        head = self._newer(role.name, found, authority)
        if head is None:
            found.lists |= {where.name: one for where, one in self.own.lists_of(role)}
            head = found.lists.get(role.name)
        else:
            found.lists[role.name] = head
        if head is None:
            return found
        for name in bins_of(head, role):
            newer = self._newer(name, found, authority)
            if newer is not None:
                found.lists[name] = newer
            elif name in self.own.lists:
                found.lists[name] = self.own.lists[name][1]
        return found

    def _newer(self, name: str, found: _Pending, authority: Authority) -> Targets | None:
        """A list of the next version that lies there, signed by one of the role's keys at least."""
        version = self._published(name) + 1
        data = read_small(self.own.folder / metadata_path(name, version), TUNING.role)
        if data is None:
            return None
        try:
            read = read_targets(data, TUNING.role)
            signed = _signed_by(read.payload, read.signatures, authority)
        except CatalogueRefusedError:  # of a process that was killed
            return None
        if read.signed.version != version or not signed:
            return None
        if len(signed) < authority.threshold and self._cosign:
            data, signed = self._with_ours(data, signed, authority)
        if len(signed) < authority.threshold:
            found.missing.append(
                f"{name}: signed by {len(signed)} of {authority.threshold} keys, version {version}"
            )
        found.newer[name] = data
        return read.signed

    def _with_ours(
        self, data: bytes, signed: list[str], authority: Authority
    ) -> tuple[bytes, list[str]]:
        metadata: Metadata[Targets] = Metadata.from_bytes(data)
        for signer in self._ring.signers(authority.keys):
            metadata.sign(signer, append=True)
            signed = [*signed, signer.public_key.keyid]
        return metadata.to_bytes(), list(dict.fromkeys(signed))

    # The top, the root

    def renew_top(self) -> None:
        """Signs the targets of the top again where they expire soon, or a new root has come without
        them.
        """
        is_ahead = self.own.root.version > self.own.trusted.root.version
        if is_ahead or self._is_due(self.top):
            self.replace_top(required=is_ahead)

    def replace_top(self, *, required: bool = True) -> None:
        """Publishes `top` as it is now. Raises :class:`PolicyError` without enough of its keys."""
        authority = Authority.of(self.root.roles[TARGETS], self.root.keys)
        signers = self._ring.signers(authority.keys)
        if len(signers) < authority.threshold:
            text = f"the top needs {authority.threshold} of its keys; {len(signers)} are here"
            if required:
                raise PolicyError(text, hint="name the folder of the keys with --keys")
            self._waiting.append(text)
            return
        self.top.version = self._published(TARGETS) + 1
        self.top.expires = later(self._now, TUNING.list_life)
        self._new[TARGETS] = (self.top.version, write_signed(self.top, signers))

    def replace_root(self, root: Root) -> None:
        """Publishes another root, signed by enough keys of the one before and of its own. Raises
        :class:`PolicyError` without them.
        """
        old = self.own.root
        root.version = old.version + 1
        root.expires = later(self._now, TUNING.list_life)
        known = {**old.keys, **root.keys}
        ids = [*old.roles[ROOT].keyids, *root.roles[ROOT].keyids]
        signers = self._ring.signers({keyid: known[keyid] for keyid in ids})
        data = write_signed(root, signers)
        try:
            with refusing("the new root"):
                metadata: Metadata[Root] = Metadata.from_bytes(data)
                for judge in (old, root):
                    judge.verify_delegate(ROOT, metadata.signed_bytes, metadata.signatures)
        except CatalogueRefusedError:
            raise PolicyError(
                f"a new root needs {old.roles[ROOT].threshold} keys of the root; "
                f"{len([k for k in old.roles[ROOT].keyids if k in self._ring])} are here",
                hint="name the folders of its keys, also those of recovery, with --keys",
            ) from None
        self.root = root
        self._new_root = data

    # All together

    def finish(self) -> Published:
        """Writes it all, and the timestamp last."""
        old = self.own.trusted.snapshot
        timestamp = self.own.trusted.timestamp
        assert old is not None
        assert timestamp is not None
        online = {}
        for name in (SNAPSHOT, TIMESTAMP):
            authority = Authority.of(self.root.roles[name], self.root.keys)
            signers = self._ring.signers(authority.keys)
            online[name] = signers if len(signers) >= authority.threshold else []
        lists = [(name, version, data) for name, (version, data) in self._new.items()]
        if not all(online.values()):
            if self._new_root is not None:
                raise PolicyError(
                    "a new root needs the online key too: the timestamp is signed under it",
                    hint="name the folders of both with --keys",
                )
            _write(self.own.folder, [*lists, *self._written])
            waiting = [*self._waiting, "the operator publishes: the online key is not here"]
            return Published(
                old.version, tuple(self._new), self._count(), tuple(waiting), changed=bool(lists)
            )
        meta = dict(old.meta) | {f"{n}.json": meta_file(v, d) for n, v, d in lists}
        expires = later(self._now, TUNING.timestamp_life)
        snapshot = Snapshot(old.version + 1, None, expires, meta)
        data = write_signed(snapshot, online[SNAPSHOT])
        _write(
            self.own.folder,
            [*lists, *self._written, (SNAPSHOT, snapshot.version, data)],
        )
        if self._new_root is not None:
            path = metadata_path(ROOT, self.root.version)
            write_small(self.own.folder / path, self._new_root)
        signed = {SIGNED: write_time(self._now)}
        stamp = Timestamp(
            timestamp.version + 1, None, expires, meta_file(snapshot.version, data), signed
        )
        path = metadata_path(TIMESTAMP, None)
        write_small(self.own.folder / path, write_signed(stamp, online[TIMESTAMP]))
        prune(self.own.folder, meta, snapshot.version)
        return Published(snapshot.version, tuple(self._new), self._count(), tuple(self._waiting))

    def _count(self) -> int:
        lists = {name: len(targets.targets) for name, (_, targets) in self.own.lists.items()}
        for name, (_, data) in self._new.items():
            lists[name] = len(read_targets(data, TUNING.role).signed.targets)
        return sum(lists.values())


def _entries(lists: dict[str, Targets]) -> dict[str, TargetFile]:
    return {path: one for targets in lists.values() for path, one in targets.targets.items()}


def _signed_by(payload: bytes, signatures: dict[str, Signature], authority: Authority) -> list[str]:
    """The ids of the keys that signed."""
    found = []
    for keyid, key in authority.keys.items():
        if keyid in signatures:
            try:
                key.verify_signature(signatures[keyid], payload)
            except UnverifiedSignatureError:
                continue
            found.append(keyid)
    return found


def _write(folder: Path, files: list[tuple[str, int, bytes]]) -> None:
    """Writes files that nothing refers to yet, durably."""
    where = folder / "metadata"
    with disk.reporting(where):
        disk.make_dir(where)
        opened: list[int] = []
        try:
            for name, version, data in files:
                path = folder / metadata_path(name, version)
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
                try:
                    disk.write_all(fd, data, 0)
                finally:
                    os.close(fd)
            for name, version, _ in files:
                fd = os.open(folder / metadata_path(name, version), os.O_RDONLY | os.O_CLOEXEC)
                opened.append(fd)
                disk.fsync(fd)
                os.close(opened.pop())
        finally:
            for fd in opened:
                os.close(fd)
        disk.fsync_dir(where)


def prune(folder: Path, meta: dict[str, MetaFile], snapshot: int) -> None:
    """Removes versions that no follower can be in the middle of reading."""
    now = {name.removesuffix(".json"): one.version for name, one in meta.items()}
    now[SNAPSHOT] = snapshot
    for name in disk.listed(folder / "metadata"):
        match = _NUMBERED.match(name)
        if match and match[2] in now and int(match[1]) <= now[match[2]] - _KEPT:
            with disk.reporting(folder / "metadata" / name):
                disk.remove(folder / "metadata" / name)
