"""Puts the gate of an archive together, from its folder and the settings."""

from pathlib import Path
from typing import Final

from outlast.features.trust.rules.gate import RuleFiles, RulesGate
from outlast.features.trust.rules.screen import NO_SCREEN, PartyScreen
from outlast.features.trust.settings import TrustSettings
from outlast.store.disk import is_named

FOLDER: Final = "trust"
RULES: Final = "rules.cedar"
PUBLISHERS: Final = "publishers.toml"
LABELS: Final = "labels.toml"


def rule_files(home: Path, settings: TrustSettings) -> RuleFiles:
    """The files that hold for the archive in `home`: those that the settings name, and the rules
    that lie in the archive itself, for all that opens it.
    """
    own = home / FOLDER / RULES
    rules = [path for path in (settings.rules, own if is_named(own) else None) if path is not None]
    return RuleFiles(
        tuple(rules),
        settings.publishers or _if_there(home / FOLDER / PUBLISHERS),
        settings.labels or _if_there(home / FOLDER / LABELS),
    )


def make_gate(home: Path, settings: TrustSettings) -> RulesGate | None:
    """The gate; None where there are no rules."""
    files = rule_files(home, settings)
    return rules_gate(files, settings) if files.rules else None


def rules_gate(files: RuleFiles, settings: TrustSettings) -> RulesGate:
    """The gate of these files, with the lists of parties that the settings name."""
    screen: PartyScreen = NO_SCREEN
    if settings.lists:
        from outlast.features.trust.screening.list_screen import (  # noqa: PLC0415 - few have any
            ListScreen,
            NamedList,
        )

        screen = ListScreen([NamedList.parse(text) for text in settings.lists], settings.list_days)
    return RulesGate(files, reports=settings.reports, screen=screen)


def _if_there(path: Path) -> Path | None:
    return path if is_named(path) else None
