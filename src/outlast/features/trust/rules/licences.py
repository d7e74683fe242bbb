"""Licences as facts: from what cards and hubs write, through SPDX expressions, to conditions. What
is not known stays unknown, and no fact is a legal verdict.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any, Final, Literal, TypeAlias

import msgspec

from outlast.core.errors import BadConfigError
from outlast.features.trust.rules.countries import UNKNOWN
from outlast.features.trust.rules.data_files import packaged, parse_toml

_FILE: Final = "licences.toml"
_MOST_KEPT: Final = 4096
"""Texts whose meaning is remembered. Guess: a hub's models have some hundreds."""
_MOST_TEXT: Final = 2000
"""Characters of an expression that is parsed: SPDX has none that is a tenth as long."""

Allowed: TypeAlias = Literal["yes", "conditional", "no", "unknown"]
Asked: TypeAlias = Literal["yes", "no", "unknown"]
Copyleft: TypeAlias = Literal["none", "weak", "strong", "unknown"]
NO_CEILING: Final = 0
UNKNOWN_CEILING: Final = -1

# The less a word restricts, the earlier it stands. What certainly restricts stands after unknown.
_ORDERS: Final[Mapping[str, Sequence[str]]] = {
    "commercial": ("yes", "conditional", "unknown", "no"),
    "redistribution": ("yes", "conditional", "unknown", "no"),
    "attribution": ("no", "unknown", "yes"),
    "naming": ("no", "unknown", "yes"),
    "use_restrictions": ("no", "unknown", "yes"),
    "copyleft": ("none", "weak", "unknown", "strong"),
}


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a licence allows and asks for. `user_ceiling`: users above which it asks for more."""

    commercial: Allowed = "unknown"
    redistribution: Allowed = "unknown"
    attribution: Asked = "unknown"
    naming: Asked = "unknown"
    use_restrictions: Asked = "unknown"
    copyleft: Copyleft = "unknown"
    user_ceiling: int = UNKNOWN_CEILING


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence, or several: `spdx` is the expression, "unknown" where one of them is."""

    spdx: str = UNKNOWN
    conditions: Conditions = Conditions()


class LicenceRow(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"
):
    """One licence of the file."""

    id: str
    name: str = ""
    names: list[str] = []
    commercial: Allowed
    redistribution: Allowed
    attribution: Asked
    naming: Asked
    use_restrictions: Asked
    copyleft: Copyleft
    user_ceiling: int
    url: str
    note: str = ""
    checked: str = ""
    """The day on which the conditions were compared with the text, and where that is; empty: they
    were not."""

    def conditions(self) -> Conditions:
        return Conditions(**{one.name: getattr(self, one.name) for one in fields(Conditions)})


class _LicencesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    licence: list[LicenceRow]


@dataclass(frozen=True, slots=True)
class LicenceTable:
    """The licences of the package: by id, and the ids by all names, in lower case."""

    rows: Mapping[str, LicenceRow]
    ids: Mapping[str, str]


@cache
def licence_table() -> LicenceTable:
    """Reads the table of the package, once."""
    rows: dict[str, LicenceRow] = {}
    ids: dict[str, str] = {}
    for row in parse_toml(_LicencesFile, packaged(_FILE), _FILE).licence:
        rows[row.id] = row
        for name in (row.id, *row.names):
            if ids.setdefault(name.lower(), row.id) != row.id:
                raise BadConfigError(f"{_FILE}: {name} names two licences")
    return LicenceTable(rows, ids)


_parsing: Final = threading.Lock()
"""The parser of expressions says nothing of threads."""


@cache
def _spdx() -> Any:
    """The licences that SPDX knows, and the parser of expressions."""
    from license_expression import get_spdx_licensing  # noqa: PLC0415 - takes 0.2 s to load

    return get_spdx_licensing()


def _has_spdx() -> bool:
    """Whether the list of SPDX is installed; without it the table of the package is all."""
    return find_spec("license_expression") is not None


@cache
def _spdx_ids() -> Mapping[str, str]:
    return {key.lower(): key for key in _spdx().known_symbols}


def is_known(expression: str) -> bool:
    """Whether all licences of an expression are known, each written as it is named."""
    return expression == UNKNOWN or read_licence(expression).spdx == expression


@lru_cache(_MOST_KEPT)
def read_licence(text: str) -> Licence:
    """The licence that a card or hub writes as `text`: a name, an SPDX id or an expression."""
    plain = " ".join(text.split())
    if not plain or len(plain) > _MOST_TEXT:
        return Licence()
    if (known := _by_name(plain)) is not None:
        return known
    if " AND " in plain and "(" not in plain and " OR " not in plain:
        # So the core joins what a model names; those names may be no expressions.
        return _joined([read_licence(part) for part in plain.split(" AND ")])
    return _parsed(plain)


def _by_name(text: str) -> Licence | None:
    """A licence that the table, or SPDX, has under one name."""
    table, name = licence_table(), text.lower()
    found = table.ids.get(name)
    if found is not None:
        return Licence(found, table.rows[found].conditions())
    if not _has_spdx():
        return None
    if (spdx := _spdx_ids().get(name)) is not None:
        return Licence(spdx)
    return None


def _joined(parts: Sequence[Licence]) -> Licence:
    """All of them hold."""
    if any(part.spdx == UNKNOWN for part in parts):
        return Licence(UNKNOWN, _all_of([part.conditions for part in parts]))
    ids = dict.fromkeys(part.spdx for part in parts)
    wrapped = (f"({one})" if " OR " in one else one for one in ids)
    return Licence(" AND ".join(wrapped), _all_of([part.conditions for part in parts]))


def _parsed(text: str) -> Licence:
    """An expression of SPDX; unknown where it is none, or names what is not known."""
    if not _has_spdx():
        return Licence()
    try:
        with _parsing:
            tree = _spdx().parse(text, validate=False)
        if tree is None:
            return Licence()
        conditions = _walked(tree)
        return Licence(_rendered(tree), conditions)
    except Exception:  # noqa: BLE001 - its parser fails in many ways, as with IndexError for "(mit)O"
        return Licence()


class _UnknownLicenceError(Exception):
    """An expression names a licence that is not known."""


def _walked(tree: Any) -> Conditions:
    if hasattr(tree, "license_symbol"):  # one WITH an exception: that may lift what it asks for
        base = _walked(tree.license_symbol)
        return replace(base, copyleft=base.copyleft if base.copyleft == "none" else "unknown")
    if getattr(tree, "key", None) is not None:
        known = _by_name(tree.key)
        if known is None:
            raise _UnknownLicenceError
        return known.conditions
    parts = [_walked(part) for part in tree.args]
    return _all_of(parts) if tree.operator.strip() == "AND" else _one_of(parts)


def _rendered(tree: Any) -> str:
    """The expression with each licence under its own name."""
    if hasattr(tree, "license_symbol"):
        return f"{_rendered(tree.license_symbol)} WITH {tree.exception_symbol.key}"
    if getattr(tree, "key", None) is not None:
        known = _by_name(tree.key)
        return known.spdx if known is not None else UNKNOWN
    parts = (
        f"({_rendered(part)})"
        if getattr(part, "args", ()) and not hasattr(part, "key")
        else _rendered(part)
        for part in tree.args
    )
    return f" {tree.operator.strip()} ".join(parts)


def _all_of(parts: Sequence[Conditions]) -> Conditions:
    """What holds where each of several licences does: the most restrictive word of each kind."""
    return _conditions(
        {
            name: max((getattr(part, name) for part in parts), key=order.index)
            for name, order in _ORDERS.items()
        },
        _ceiling([part.user_ceiling for part in parts]),
    )


def _one_of(parts: Sequence[Conditions]) -> Conditions:
    """What holds where the user may choose one: the one that is nowhere more restrictive than
    another, if there is one; else only what all of them say.
    """
    for part in parts:
        if all(_is_freer(part, other) for other in parts):
            return part
    said = {
        name: getattr(parts[0], name)
        if len({getattr(part, name) for part in parts}) == 1
        else "unknown"
        for name in _ORDERS
    }
    ceilings = {part.user_ceiling for part in parts}
    return _conditions(said, ceilings.pop() if len(ceilings) == 1 else UNKNOWN_CEILING)


def _is_freer(one: Conditions, other: Conditions) -> bool:
    for name, order in _ORDERS.items():
        ours, theirs = getattr(one, name), getattr(other, name)
        if ours != theirs and (
            UNKNOWN in {ours, theirs} or order.index(ours) > order.index(theirs)
        ):
            return False
    return one.user_ceiling in {other.user_ceiling, NO_CEILING}


def _ceiling(ceilings: Sequence[int]) -> int:
    if UNKNOWN_CEILING in ceilings:
        return UNKNOWN_CEILING
    return min((ceiling for ceiling in ceilings if ceiling), default=NO_CEILING)


def _conditions(said: Mapping[str, Any], ceiling: int) -> Conditions:
    return Conditions(**said, user_ceiling=ceiling)
