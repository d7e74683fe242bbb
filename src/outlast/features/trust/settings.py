"""The section ``[trust]`` of the configuration file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from outlast.cli.config.section import ConfigSection, Meaning, Text, read_section
from outlast.core.errors import BadConfigError

_DAYS: Final = re.compile(r"(\d{1,5})d\Z")


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """`list_days`: how old a list of parties may be, in days."""

    list_days: float = 30.0


class TrustSection(ConfigSection, frozen=True):
    """What this archive's operator relies on, and what the rules are made of."""

    lists_older_than: Annotated[
        Text,
        Meaning(
            "Lists of parties that are older are not screened against: an error, not a pass. "
            "Days, as 30d.",
        ),
    ] = "30d"


def read_settings(table: Mapping[str, Any]) -> TrustSettings:
    """What ``[trust]`` says. Raises :class:`BadConfigError`."""
    said = read_section(TrustSection, table, "[trust]")
    return TrustSettings(list_days=_days("lists-older-than", said.lists_older_than))


def _days(key: str, text: str) -> float:
    found = _DAYS.match(text)
    if found is None:
        raise BadConfigError(
            f"[trust]: the setting {key!r} is not a number of days: {text[:40]!r}",
            hint="write it like 30d",
        )
    return float(found[1])
