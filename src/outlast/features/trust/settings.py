"""The section ``[trust]`` of the configuration file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from msgspec import Meta

from outlast.cli.config.section import ConfigSection, Meaning, read_section
from outlast.features.trust.records.needed import MOST_NEEDED, Needed


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """How many have to agree before a claim holds."""

    needed: Needed = field(default_factory=Needed)


_DEFAULT: Final = TrustSettings()


class TrustSection(ConfigSection, frozen=True):
    """What a claim needs: see 'outlast guide trust'."""

    observers: Annotated[
        int,
        Meta(
            ge=1,
            le=MOST_NEEDED,
            description=f"the setting {{!r}} is not a number from 1 to {MOST_NEEDED}",
        ),
        Meaning(
            "How many observers have to agree before a revision counts as observed. What this "
            "archive pulled from a hub itself counts as one.",
        ),
    ] = _DEFAULT.needed.observers
    signatures: Annotated[
        int,
        Meta(
            ge=1,
            le=MOST_NEEDED,
            description=f"the setting {{!r}} is not a number from 1 to {MOST_NEEDED}",
        ),
        Meaning(
            "How many pinned keys of a publisher have to sign before a revision counts as "
            "published.",
        ),
    ] = _DEFAULT.needed.signatures


def read_settings(table: Mapping[str, Any]) -> TrustSettings:
    """What ``[trust]`` says. Raises :class:`~outlast.core.errors.BadConfigError`."""
    said = read_section(TrustSection, table, "[trust]")
    return TrustSettings(Needed(said.signatures, said.observers))
