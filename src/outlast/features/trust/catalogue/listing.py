"""What a catalogue lists: its roles, their bins, their entries, and which of these count.

A catalogue has a shape that is narrower than TUF's: the targets of the top list nothing and
delegate to publishers, each for one organisation, and last to the role for all other names. Each of
those lists its entries itself, or has them in hash bins. No role is named by two others, and
nothing delegates further. A catalogue of another shape is refused as a whole. An entry whose name
is not its publisher's is left out, and said.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from tuf.api.metadata import DelegatedRole, Delegations, SuccinctRoles, Targets

from outlast.core.errors import BadNameError, CatalogueRefusedError, MalformedError
from outlast.features.trust.catalogue.entries import CatalogueEntry, problem_of
from outlast.features.trust.catalogue.names import (
    EVERYTHING,
    OTHERS,
    TargetName,
    check_organisation,
    namespace,
    organisation_of,
    publisher_of,
)
from outlast.features.trust.catalogue.trusted import TARGETS
from outlast.features.trust.catalogue.tuning import TUNING, CatalogueTuning

_MOST_REFUSED: Final = 100
"""Entries of one list that are left out, and said."""


@dataclass(frozen=True, slots=True)
class CatalogueRole:
    """A role that lists entries: of an `organisation`, or (empty) of all other names."""

    name: str
    organisation: str


@dataclass(frozen=True, slots=True)
class RoleList:
    """A file that lists entries: of a role, or of a bin (`name`) of a role (`delegator`)."""

    name: str
    delegator: str
    role: CatalogueRole


@dataclass(frozen=True, slots=True)
class ListContents:
    """What a list says. `refused`: entries that do not count, each with the reason."""

    entries: tuple[CatalogueEntry, ...]
    refused: tuple[str, ...]


class LoadRole(Protocol):
    """Loads and verifies the file of a role."""

    def __call__(self, role: str, delegator: str) -> Targets: ...


def roles_of(top: Targets) -> tuple[CatalogueRole, ...]:
    """The roles below the top. Raises :class:`CatalogueRefusedError` for another shape."""
    if top.targets or top.delegations is None or top.delegations.roles is None:
        raise _misshapen("its top lists targets itself, or delegates to no publisher")
    found = tuple(_role_of(role) for role in top.delegations.roles.values())
    if [role.name for role in found if not role.organisation] != [OTHERS]:
        raise _misshapen(f"it needs one role {OTHERS!r}")
    if found[-1].organisation:
        raise _misshapen(f"the role {OTHERS!r} comes last")
    names = [role.organisation.lower() for role in found]
    if len(set(names)) < len(names):
        raise _misshapen("one organisation has two publishers")
    return found


def _role_of(role: DelegatedRole) -> CatalogueRole:
    if role.name == OTHERS:
        if tuple(role.paths or ()) != EVERYTHING:
            raise _misshapen(f"the role {OTHERS!r} has other patterns")
        return CatalogueRole(OTHERS, "")
    organisation = publisher_of(role.name)
    try:
        check_organisation(organisation or "")
    except BadNameError:
        organisation = None
    if organisation is None:
        raise _misshapen(f"it has a role of another kind: {role.name[:100]!r}")
    if tuple(role.paths or ()) != namespace(organisation) or not role.terminating:
        raise _misshapen(f"{role.name!r} has other patterns than its organisation's")
    return CatalogueRole(role.name, organisation)


def lists_of(
    top: Targets, load: LoadRole, has: Callable[[str], bool], tuning: CatalogueTuning = TUNING
) -> Iterator[RoleList]:
    """All lists: those of roles, each followed by its bins. `load` is called for the roles alone.
    A publisher of whom the snapshot does not have (`has`) a list has none yet. Raises
    :class:`CatalogueRefusedError` where two roles delegate to one list, or for too many.
    """
    seen = {TARGETS}
    for role in roles_of(top):
        if role.organisation and not has(role.name):
            continue
        names = [role.name, *bins_of(load(role.name, TARGETS), role, tuning)]
        for name in names:
            if name in seen:
                raise _misshapen(f"two roles delegate to {name!r}")
            seen.add(name)
            if len(seen) > tuning.roles:
                raise _misshapen(f"it has more than {tuning.roles} lists")
            yield RoleList(name, TARGETS if name == role.name else role.name, role)


def bins_of(targets: Targets, role: CatalogueRole, tuning: CatalogueTuning = TUNING) -> list[str]:
    """The bins of a role; none, where it lists its entries itself."""
    bins = succinct(targets.delegations)
    if targets.delegations is None:
        return []
    if bins is None or bins.bit_length > tuning.bin_bits or targets.targets:
        raise _misshapen(f"{role.name!r} delegates otherwise than to bins")
    if not bins.name_prefix.startswith(f"{role.name}."):
        raise _misshapen(f"{role.name!r} has bins of another name: {bins.name_prefix[:100]!r}")
    return list(bins.get_roles())


def succinct(delegations: Delegations | None) -> SuccinctRoles | None:
    return None if delegations is None else delegations.succinct_roles


def entries_of(
    targets: Targets, where: RoleList, publishers: frozenset[str], bins: SuccinctRoles | None
) -> ListContents:
    """The entries of a list that count. `publishers`: the organisations, in lower case, that have a
    role of their own; `bins`: those that the list is one of.
    """
    if where.delegator != TARGETS and targets.delegations is not None:
        raise _misshapen(f"the bin {where.name!r} delegates further")
    entries: list[CatalogueEntry] = []
    refused: list[str] = []
    for path, target in targets.targets.items():
        try:
            name = TargetName.parse(path)
            _check_place(name, where, publishers, bins)
            entries.append(CatalogueEntry.of_target(path, target))
        except MalformedError as error:
            refused.append(f"{where.role.organisation or OTHERS}: {problem_of(error)}")
    return ListContents(tuple(entries), tuple(refused[:_MOST_REFUSED]))


def _check_place(
    name: TargetName, where: RoleList, publishers: frozenset[str], bins: SuccinctRoles | None
) -> None:
    """Whether that name is the list's to give. Raises :class:`MalformedError`."""
    organisation = organisation_of(name.repo)
    own = where.role.organisation
    if own:
        # The patterns of TUF tell upper case from lower; so do names at hubs, in what they show.
        if name.repo.name.partition("/")[0] != own:
            raise MalformedError(f"{name.path} is not delegated to {own}")
    elif organisation in publishers:
        raise MalformedError(f"{name.path} is its publisher's alone to list")
    if bins is not None and bins.get_role_for_target(name.path) != where.name:
        raise MalformedError(f"{name.path} is in the wrong bin")


def publishers_of(roles: tuple[CatalogueRole, ...]) -> frozenset[str]:
    """The organisations that have a role of their own, in lower case."""
    return frozenset(role.organisation.lower() for role in roles if role.organisation)


def _misshapen(why: str) -> CatalogueRefusedError:
    return CatalogueRefusedError(f"not a catalogue of models: {why}")
