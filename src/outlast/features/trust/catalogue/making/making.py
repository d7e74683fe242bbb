"""A new catalogue, its publishers, and other keys for its roles."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Role,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from outlast.core.digest import Digest
from outlast.core.errors import NotFoundError, PolicyError, UsageError
from outlast.features.trust.catalogue.clock import SIGNED, write_time
from outlast.features.trust.catalogue.folders import write_small
from outlast.features.trust.catalogue.listing import CatalogueRole
from outlast.features.trust.catalogue.making.keyfiles import KeyRing, new_key
from outlast.features.trust.catalogue.making.own import read_own
from outlast.features.trust.catalogue.making.publish import NextCatalogue, Published, locked
from outlast.features.trust.catalogue.making.signing import later, meta_file, write_signed
from outlast.features.trust.catalogue.making.staging import Staged
from outlast.features.trust.catalogue.names import (
    EVERYTHING,
    OTHERS,
    check_publisher,
    metadata_path,
    namespace,
    publisher_role,
)
from outlast.features.trust.catalogue.trusted import ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from outlast.features.trust.catalogue.tuning import TUNING

RECOVERY: Final = "x-outlast-recovery"
"""The field of a root that names its recovery keys."""
NAME: Final = "x-outlast-name"
"""The field of a root with the name that its operator gave the catalogue."""
ONLINE: Final = "online"
LISTS: Final = "lists"


@dataclass(frozen=True, slots=True)
class InitWishes:
    """How many keys the root has, how many of those are for recovery, and how many must sign."""

    root_keys: int = 1
    recovery_keys: int = 2
    threshold: int = 2

    def check(self) -> None:
        """Raises :class:`UsageError`."""
        if self.threshold > self.root_keys + self.recovery_keys:
            raise UsageError(
                f"{self.threshold} keys must sign a root that has "
                f"{self.root_keys + self.recovery_keys}"
            )
        if self.recovery_keys and self.recovery_keys < self.threshold:
            raise UsageError(
                "the recovery keys alone could not sign a root: they would recover nothing",
                hint="raise --recovery-keys, or lower --threshold",
            )


@dataclass(frozen=True, slots=True)
class MadeCatalogue:
    """A new catalogue: where it lies, its keys, and the sha256 of the root that followers need."""

    folder: Path
    root: Path
    digest: Digest
    keys: tuple[Path, ...]


def init(
    folder: Path,
    name: str,
    keys: Path,
    *,
    wishes: InitWishes,
    passphrase: bytes | None,
    now: datetime,
) -> MadeCatalogue:
    """Makes a catalogue that lists nothing yet. Raises :class:`PolicyError` where there is one."""
    wishes.check()
    with locked(folder):
        if (folder / metadata_path(ROOT, 1)).exists():
            raise PolicyError(
                f"there is a catalogue in {folder} already", hint="give this one another name"
            )
        files: list[Path] = []

        def make(key: str) -> SSlibKey:
            files.append(keys / f"{key}.pem")
            return new_key(files[-1], passphrase)

        roots = [make(f"root-{n + 1}") for n in range(wishes.root_keys)]
        recovery = [make(f"recovery-{n + 1}") for n in range(wishes.recovery_keys)]
        online, lists = make(ONLINE), make(LISTS)
        ring = KeyRing([keys], lambda _: passphrase or b"")
        root = _root(name, (roots, recovery), online, lists, wishes.threshold)
        root.expires = later(now, TUNING.list_life)
        data = write_signed(root, _of(ring, [*roots, *recovery]))
        _write_first(folder, data, lists, ring, now, online=online)
    path = folder / metadata_path(ROOT, 1)
    return MadeCatalogue(folder, path, Digest.of(data), tuple(files))


def _of(ring: KeyRing, keys: Sequence[SSlibKey]) -> list[CryptoSigner]:
    return ring.signers({key.keyid: key for key in keys})


def _root(
    name: str,
    roots: tuple[Sequence[SSlibKey], Sequence[SSlibKey]],
    online: SSlibKey,
    lists: SSlibKey,
    threshold: int,
) -> Root:
    own, recovery = roots
    every = [*own, *recovery, online, lists]
    signers = [key.keyid for key in (*own, *recovery)]
    return Root(
        version=1,
        keys={key.keyid: key for key in every},
        roles={
            ROOT: Role(signers, threshold),
            TIMESTAMP: Role([online.keyid], 1),
            SNAPSHOT: Role([online.keyid], 1),
            TARGETS: Role([lists.keyid], 1),
        },
        consistent_snapshot=True,
        unrecognized_fields={RECOVERY: [key.keyid for key in recovery], NAME: name},
    )


def _write_first(
    folder: Path,
    root: bytes,
    key: SSlibKey,
    ring: KeyRing,
    now: datetime,
    *,
    online: SSlibKey,
) -> None:
    """The first metadata; the root comes last, because it says that there is a catalogue."""
    lists, often = _of(ring, [key]), _of(ring, [online])
    year, soon = later(now, TUNING.list_life), later(now, TUNING.timestamp_life)
    others = DelegatedRole(OTHERS, [key.keyid], 1, terminating=True, paths=list(EVERYTHING))
    delegations = Delegations({key.keyid: key}, {OTHERS: others})
    files = {
        TARGETS: write_signed(Targets(1, None, year, {}, delegations), lists),
        OTHERS: write_signed(Targets(1, None, year, {}), lists),
    }
    meta = {f"{name}.json": meta_file(1, data) for name, data in files.items()}
    files[SNAPSHOT] = write_signed(Snapshot(1, None, soon, meta), often)
    for name, data in files.items():
        write_small(folder / metadata_path(name, 1), data)
    signed = {SIGNED: write_time(now)}
    stamp = Timestamp(1, None, soon, meta_file(1, files[SNAPSHOT]), signed)
    write_small(folder / metadata_path(TIMESTAMP, None), write_signed(stamp, often))
    write_small(folder / metadata_path(ROOT, 1), root)


def set_publisher(
    folder: Path,
    organisation: str,
    keys: Sequence[SSlibKey],
    ring: KeyRing,
    now: datetime,
    *,
    threshold: int = 1,
) -> Published:
    """Delegates the models of an organisation to a publisher, or gives that other keys. What the
    publisher has listed has to be signed with them: it is where the old keys are among them, and
    else this ring signs it.
    """
    check_publisher(organisation)
    if not keys or not 1 <= threshold <= len({key.keyid for key in keys}):
        raise UsageError(f"{threshold} of {len(keys)} keys cannot sign")
    with locked(folder):
        made = NextCatalogue(read_own(folder, now), ring, now)
        if not any(role.organisation == organisation for role in made.own.roles):
            _refuse_taken(made, organisation)
        role = CatalogueRole(publisher_role(organisation), organisation)
        top = copy.deepcopy(made.top)
        delegations = top.delegations
        assert delegations is not None
        assert delegations.roles is not None
        ids = [key.keyid for key in keys]
        delegated = DelegatedRole(
            role.name, ids, threshold, terminating=True, paths=list(namespace(organisation))
        )
        others = delegations.roles.pop(OTHERS)
        delegations.roles[role.name] = delegated
        delegations.roles[OTHERS] = others  # the last one
        delegations.keys |= {key.keyid: key for key in keys}
        _drop_unused(delegations)
        made.top = top
        made.replace_top()
        made.relist(role, Staged())
        return made.finish()


def _refuse_taken(made: NextCatalogue, organisation: str) -> None:
    """What the operator lists of an organisation goes before its publisher comes: two may not."""
    for entry in made.own.entries():
        if entry.name.repo.name.lower().startswith(f"{organisation.lower()}/"):
            raise PolicyError(
                f"{entry.name.path} is listed among all others, and would be its publisher's",
                hint="remove it with 'outlast catalogue add --remove', and publish, first",
            )
    for role in made.own.roles:
        if role.organisation.lower() == organisation.lower():
            raise PolicyError(f"{role.organisation} is the same organisation in another spelling")


def rotate(
    folder: Path,
    role: str,
    new_keys: Sequence[SSlibKey],
    ring: KeyRing,
    now: datetime,
    *,
    threshold: int | None = None,
) -> Published:
    """Other keys for ``root``, ``online`` or ``lists``. Those of ``root`` take the place of all but
    the recovery keys; without new ones it is signed again as it is, for another year. Signed by
    enough keys of the old root: recovery keys too are keys of it.
    """
    with locked(folder):
        made = NextCatalogue(read_own(folder, now), ring, now)
        root = copy.deepcopy(made.root)
        ids = [key.keyid for key in new_keys]
        root.keys |= {key.keyid: key for key in new_keys}
        if role == ROOT and not ids:
            root.roles[ROOT].threshold = threshold or root.roles[ROOT].threshold
        elif role == ROOT:
            recovery = root.unrecognized_fields.get(RECOVERY, [])
            kept = [keyid for keyid in root.roles[ROOT].keyids if keyid in recovery]
            root.roles[ROOT] = _role([*ids, *kept], threshold or root.roles[ROOT].threshold)
        elif role == ONLINE:
            for name in (TIMESTAMP, SNAPSHOT):
                root.roles[name] = _role(ids, threshold or 1)
        elif role == LISTS:
            root.roles[TARGETS] = _role(ids, threshold or 1)
        else:
            raise NotFoundError(
                f"no such role: {role[:60]!r}", hint=f"roles are {ROOT}, {ONLINE}, {LISTS}"
            )
        used = {keyid for one in root.roles.values() for keyid in one.keyids}
        root.keys = {keyid: key for keyid, key in root.keys.items() if keyid in used}
        made.replace_root(root)
        if role == LISTS:
            _give_lists(made, new_keys, threshold or 1)
        return made.finish()


def _give_lists(made: NextCatalogue, keys: Sequence[SSlibKey], threshold: int) -> None:
    """The new keys for what the operator lists, too."""
    top = copy.deepcopy(made.top)
    assert top.delegations is not None
    assert top.delegations.roles is not None
    others = top.delegations.roles[OTHERS]
    others.keyids, others.threshold = [key.keyid for key in keys], threshold
    top.delegations.keys |= {key.keyid: key for key in keys}
    _drop_unused(top.delegations)
    made.top = top
    made.replace_top()
    made.relist(CatalogueRole(OTHERS, ""), Staged())


def _role(keyids: Sequence[str], threshold: int) -> Role:
    if threshold > len(keyids):
        raise UsageError(f"{threshold} keys must sign, and there are {len(keyids)}")
    return Role(list(keyids), threshold)


def _drop_unused(delegations: Delegations) -> None:
    roles = (delegations.roles or {}).values()
    used = {keyid for role in roles for keyid in role.keyids}
    delegations.keys = {keyid: key for keyid, key in delegations.keys.items() if keyid in used}
