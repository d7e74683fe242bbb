"""The section ``[trust]`` of the configuration file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from outlast.cli.config.section import ConfigSection, Meaning, Text, read_section
from outlast.core.errors import BadConfigError

Mode = Literal["enforce", "report"]
_MODES: Final[tuple[str, ...]] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """Where the operator's rules are, and what they need. `reports`: nothing is refused, and what
    would be is said.
    """

    rules: Path | None = None
    reports: bool = False
    publishers: Path | None = None
    labels: Path | None = None


class TrustSection(ConfigSection, frozen=True):
    """What the operator's rules allow to do with models, and what they go by."""

    rules: Annotated[
        Text,
        Meaning(
            "A file of rules in Cedar: what may be pulled, served, shared, exported and run.",
            more="See [rules](rules.md). `trust/rules.cedar` in the archive holds beside it",
            default="none",
            example="/etc/outlast/rules.cedar",
        ),
    ] = ""
    mode: Annotated[
        Text,
        Meaning(
            "enforce refuses what the rules do not allow; report allows everything, and logs and "
            "counts what would be refused.",
        ),
    ] = "enforce"
    publishers: Annotated[
        Text,
        Meaning(
            "A TOML file that says who is behind names on hubs; its rows go before outlast's own.",
            default="trust/publishers.toml in the archive, if it is there",
            example="/etc/outlast/publishers.toml",
        ),
    ] = ""
    labels: Annotated[
        Text,
        Meaning(
            "A TOML file with your labels of models, which rules can ask for.",
            default="trust/labels.toml in the archive, if it is there",
            example="/etc/outlast/labels.toml",
        ),
    ] = ""


def read_settings(table: Mapping[str, Any]) -> TrustSettings:
    """What ``[trust]`` says. Raises :class:`BadConfigError`."""
    said = read_section(TrustSection, table, "[trust]")
    if said.mode not in _MODES:
        raise BadConfigError(
            f"[trust]: the setting 'mode': not a mode: {said.mode[:100]!r}",
            hint=f"known: {', '.join(_MODES)}",
        )
    return TrustSettings(
        rules=_path("rules", said.rules),
        reports=said.mode == "report",
        publishers=_path("publishers", said.publishers),
        labels=_path("labels", said.labels),
    )


def _path(key: str, text: str) -> Path | None:
    if not text:
        return None
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        path = Path()
    if not path.is_absolute() or "\0" in text:
        raise BadConfigError(
            f"[trust]: the setting {key!r}: not an absolute path: {text[:200]!r}",
            hint=f"write /etc/outlast/{key} or ~/{key}",
        )
    return path
