"""A catalogue that is made here, as its folder has it: verified as a follower would."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Root, Targets

from outlast.core.errors import CatalogueRefusedError, NotFoundError
from outlast.core.names import RepoId
from outlast.features.trust.catalogue.entries import CatalogueEntry
from outlast.features.trust.catalogue.folders import read_small
from outlast.features.trust.catalogue.listing import (
    CatalogueRole,
    RoleList,
    entries_of,
    lists_of,
    publishers_of,
    roles_of,
    succinct,
)
from outlast.features.trust.catalogue.names import metadata_path, organisation_of
from outlast.features.trust.catalogue.places import FolderPlace
from outlast.features.trust.catalogue.trusted import ROOT, TARGETS, TrustedSet
from outlast.features.trust.catalogue.tuning import TUNING
from outlast.features.trust.catalogue.workflow import Workflow


class _KeepsNothing:
    """Keeps nothing: all is read from the folder."""

    def get(self, role: str) -> bytes | None:
        del role
        return None

    def keep(self, role: str, version: int, data: bytes) -> None:
        del role, version, data


@dataclass(frozen=True, slots=True)
class OwnCatalogue:
    """What a folder publishes: `lists` by name, each with where it hangs."""

    folder: Path
    trusted: TrustedSet
    root: Root
    """The newest root. It is ahead of what is trusted where publishing ended between the two."""
    roles: tuple[CatalogueRole, ...]
    lists: dict[str, tuple[RoleList, Targets]]

    def lists_of(self, role: CatalogueRole) -> list[tuple[RoleList, Targets]]:
        return [one for one in self.lists.values() if one[0].role == role]

    def role_for(self, repo: RepoId) -> CatalogueRole:
        """The role that lists a model."""
        organisation = organisation_of(repo)
        return next(
            role
            for role in self.roles
            if role.organisation.lower() == organisation or not role.organisation
        )

    def entries(self) -> list[CatalogueEntry]:
        """All that count."""
        found: list[CatalogueEntry] = []
        publishers = publishers_of(self.roles)
        for where, targets in self.lists.values():
            bins = None
            if where.delegator != TARGETS:
                bins = succinct(self.lists[where.delegator][1].delegations)
            found += entries_of(targets, where, publishers, bins).entries
        return found


def read_own(folder: Path, now: datetime) -> OwnCatalogue:
    """Raises :class:`NotFoundError` where there is none, and :class:`CatalogueRefusedError`."""
    place = FolderPlace(folder)
    try:
        root = place.read(metadata_path(ROOT, 1), TUNING.root)
    except NotFoundError:
        raise NotFoundError(
            f"no catalogue in {folder}", hint="'outlast catalogue init' makes one"
        ) from None
    newest = TrustedSet(root, now)
    chain = [root]
    while (data := _next_root(folder, newest.root.version)) is not None:
        newest.take_root(data)
        chain.append(data)
    fault: CatalogueRefusedError | None = None
    for last in range(len(chain), 0, -1):
        try:
            return _read_under(folder, chain[:last], newest.root, now)
        except CatalogueRefusedError as error:
            fault = fault or error
    assert fault is not None
    raise fault


def _next_root(folder: Path, version: int) -> bytes | None:
    return read_small(folder / metadata_path(ROOT, version + 1), TUNING.root)


class _WithoutRoots(FolderPlace):
    """The folder, but for roots: those that count were read."""

    def read(self, path: str, most: int) -> bytes:
        if path.endswith(".root.json"):
            raise NotFoundError(path)
        return super().read(path, most)


def _read_under(folder: Path, chain: list[bytes], newest: Root, now: datetime) -> OwnCatalogue:
    """What the folder publishes under the last root of the chain."""
    trusted = TrustedSet(chain[0], now)
    for data in chain[1:]:
        trusted.take_root(data)
    workflow = Workflow(_WithoutRoots(folder), _KeepsNothing(), trusted)
    try:
        workflow.refresh()
        found = lists_of(trusted.targets, workflow.load, trusted.has)
        lists = {where.name: (where, workflow.load(where.name, where.delegator)) for where in found}
    except NotFoundError as error:
        raise CatalogueRefusedError(f"the catalogue in {folder} is not whole: {error}") from error
    return OwnCatalogue(folder, trusted, newest, roles_of(trusted.targets), lists)
