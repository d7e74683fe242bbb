"""The section ``[trust]`` of the configuration file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import urlsplit

from msgspec import Meta

from outlast.cli.config.section import ConfigSection, Meaning, Text, Texts, read_section
from outlast.core.errors import BadConfigError
from outlast.features.trust.records.needed import MOST_NEEDED, Needed

Mode = Literal["enforce", "report"]
_MODES: Final[tuple[str, ...]] = get_args(Mode)
_MOST_URL: Final = 200
_DAYS: Final = re.compile(r"(\d{1,5})d\Z")


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """Where the operator's rules are, and what they need. `reports`: nothing is refused, and what
    would be is said. `needed`: how many have to agree before a claim holds; `lists`:
    lists of parties, as ``[KIND=]FILE[@DATE]``; `list_days`: how old they may be, in days.
    `evidence_key`: the key that signs records of pulls; `timestamps`: the URL of an authority for
    them, and `timestamp_roots` its root certificates. `signature_roots`: those of signatures of
    other tools; `sigstore_root`: the trust root of those by sigstore. `hub_commits`: whether a pull
    asks a hub for the text of the commit.
    """

    rules: Path | None = None
    reports: bool = False
    publishers: Path | None = None
    labels: Path | None = None
    needed: Needed = field(default_factory=Needed)
    lists: tuple[str, ...] = ()
    list_days: float = 30.0
    evidence_key: str = ""
    timestamps: str = ""
    timestamp_roots: Path | None = None
    signature_roots: Path | None = None
    sigstore_root: Path | None = None
    hub_commits: bool = True
    catalogues: tuple[str, ...] = ()


_DEFAULT: Final = TrustSettings()


class TrustSection(ConfigSection, frozen=True):
    """What the operator's rules allow to do with models, what they go by, what a claim needs."""

    rules: Annotated[
        Text | None,
        Meaning(
            "A file of rules in Cedar: what may be pulled, served, shared, exported and run.",
            more="See [rules](rules.md). `trust/rules.cedar` in the archive holds beside it",
            default="none",
            example="/etc/outlast/rules.cedar",
        ),
    ] = None
    mode: Annotated[
        Text,
        Meaning(
            "enforce refuses what the rules do not allow; report allows everything, and logs and "
            "counts what would be refused.",
        ),
    ] = "enforce"
    publishers: Annotated[
        Text | None,
        Meaning(
            "A TOML file that says who is behind names on hubs; its rows go before outlast's own.",
            default="trust/publishers.toml in the archive, if it is there",
            example="/etc/outlast/publishers.toml",
        ),
    ] = None
    labels: Annotated[
        Text | None,
        Meaning(
            "A TOML file with your labels of models, which rules can ask for.",
            default="trust/labels.toml in the archive, if it is there",
            example="/etc/outlast/labels.toml",
        ),
    ] = None
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
    lists: Annotated[
        Texts,
        Meaning(
            "Lists of sanctioned and restricted parties, for rules and 'outlast policy screen': "
            "[KIND=]FILE, and @DATE after it where its data has none.",
            more="See [screening](screening.md)",
            default="none",
            example=["/etc/outlast/consolidated.json"],
        ),
    ] = ()
    catalogues: Annotated[
        Texts,
        Meaning(
            "Catalogues that decide where followed ones contradict each other, by their names "
            "here. Without any, what two of them contradict counts as listed by neither.",
            default="none",
            example=["acme"],
        ),
    ] = ()
    lists_older_than: Annotated[
        Text,
        Meaning(
            "Lists of parties that are older are not screened against: an error, not a pass. "
            "Days, as 30d.",
        ),
    ] = "30d"
    evidence_key: Annotated[
        Text,
        Meaning(
            "The key that signs the records of what was pulled: a key of 'outlast key list' "
            "without a passphrase, or the file of one of SSH or minisign.",
            more="See [evidence](evidence.md)",
            default="none: records are not signed",
            example="archive",
        ),
    ] = ""
    timestamps: Annotated[
        Text,
        Meaning(
            "The URL of a timestamp authority (RFC 3161), which 'outlast evidence --timestamp' "
            "asks. It learns the SHA-256 of records, and nothing of models.",
            default="none",
            example="https://tsa.example.org/tsr",
        ),
    ] = ""
    timestamp_roots: Annotated[
        Text | None,
        Meaning(
            "A PEM file with the root certificates of timestamp authorities.",
            default="none: timestamps are kept, and not checked",
            example="/etc/outlast/tsa-roots.pem",
        ),
    ] = None
    signature_roots: Annotated[
        Text | None,
        Meaning(
            "A PEM file with the root certificates that OpenSSF model signatures by certificate "
            "have to lead to.",
            default="none: those are not checked",
            example="/etc/outlast/publisher-roots.pem",
        ),
    ] = None
    sigstore_root: Annotated[
        Text | None,
        Meaning(
            "The trusted_root.json of sigstore that OpenSSF model signatures by its certificates "
            "have to lead to. No network is used.",
            more="See [model signatures](model-signing.md)",
            default="none: those are not checked",
            example="/etc/outlast/trusted_root.json",
        ),
    ] = None
    hub_commits: Annotated[
        bool,
        Meaning(
            "Whether a pull asks the hub for the text of the commit, so that the id of the commit "
            "can be computed again from the archived files.",
            more="See [trust](trust.md)",
        ),
    ] = _DEFAULT.hub_commits


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
        needed=Needed(said.signatures, said.observers),
        lists=(said.lists,) if isinstance(said.lists, str) else said.lists,
        catalogues=(said.catalogues,) if isinstance(said.catalogues, str) else said.catalogues,
        list_days=_days("lists-older-than", said.lists_older_than),
        evidence_key=said.evidence_key,
        timestamps=_url("timestamps", said.timestamps),
        timestamp_roots=_path("timestamp-roots", said.timestamp_roots),
        signature_roots=_path("signature-roots", said.signature_roots),
        sigstore_root=_path("sigstore-root", said.sigstore_root),
        hub_commits=said.hub_commits,
    )


def _path(key: str, text: str | None) -> Path | None:
    """A file that a setting names. An empty text is none: rules that are lost would allow all."""
    if text is None:
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


def _url(key: str, text: str) -> str:
    if not text:
        return ""
    try:
        url = urlsplit(text)
        is_web = url.scheme in {"http", "https"} and bool(url.hostname) and text.isprintable()
    except ValueError:
        is_web = False
    if not is_web or len(text) > _MOST_URL:
        raise BadConfigError(
            f"[trust]: the setting {key!r}: not a URL: {text[:200]!r}",
            hint="write it like https://tsa.example.org/tsr",
        )
    return text


def _days(key: str, text: str) -> float:
    found = _DAYS.match(text)
    if found is None:
        raise BadConfigError(
            f"[trust]: the setting {key!r} is not a number of days: {text[:40]!r}",
            hint="write it like 30d",
        )
    return float(found[1])
