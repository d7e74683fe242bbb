"""What rules can ask of a model, made from what the core says of it and from the operator's tables.
The names are those of `data/schema.cedarschema`.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final

from outlast.core.claims import Claim, Claims, Standing
from outlast.core.errors import OutlastError
from outlast.core.names import RepoId
from outlast.core.policy import Subject
from outlast.features.trust.rules.countries import COUNTRIES, UNKNOWN
from outlast.features.trust.rules.formats import formats_of
from outlast.features.trust.rules.labels import Labels
from outlast.features.trust.rules.licences import Conditions, read_licence
from outlast.features.trust.rules.publishers import Publishers, organisation
from outlast.features.trust.rules.screen import NO_SCREEN, PartyMatch, PartyScreen, worst
from outlast.intake.base_names import UNREAD_BASE

HOSTED: Final = "hosted"
"""Fact of a subject that is an API which another one runs: "yes"."""
HOST_COUNTRY: Final = "host-country"
"""Fact: the country from which that is run."""
_CREATED: Final = "createdAt"
_UNKNOWN_DAYS: Final = -1
_MOST: Final = (1 << 63) - 1
_LICENCE_FILE: Final = re.compile(
    r"(?:licen[cs]e|copying|use_policy)(?:[-_.].*)?\Z", re.IGNORECASE | re.ASCII
)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The operator's tables and what else attributes are made from."""

    publishers: Publishers
    labels: Labels
    screen: PartyScreen = NO_SCREEN
    clock: Callable[[], dt.datetime] = now

    def attributes(self, subject: Subject) -> dict[str, Any]:
        """All attributes of a model; none is left out."""
        repo = subject.repo
        publisher = self.publishers.of(repo)
        bases = [name.lower() for name in subject.base_models]
        unread = [PartyMatch.UNKNOWN] if UNREAD_BASE in bases else []
        base_publishers = sorted(set(filter(None, map(_organisation, bases))))
        return {
            "name": repo.name.lower(),
            "publisher": organisation(repo),
            "kind": repo.kind.value,
            "legal_entity": publisher.legal_entity,
            "parent": publisher.parent,
            "jurisdiction": publisher.country,
            "licence": _licence(subject),
            "claims": _claims(subject.claims or Claims.of(())),
            "formats": sorted(formats_of(entry.path for entry in subject.files)),
            "source": subject.source or UNKNOWN,
            "gated": {True: "yes", False: "no", None: UNKNOWN}[subject.gated],
            "size": min(subject.size, _MOST),
            "files": len(subject.files),
            "labels": list(self.labels.of(repo)),
            "published_days": self._days(subject.facts),
            "listed_party": self.screen.screen(publisher).match.value,
            "bases": sorted(set(bases)),
            "base_publishers": base_publishers,
            "listed_base": worst([*map(self._listed, base_publishers), *unread]).value,
            "hosted": subject.facts.get(HOSTED) == "yes",
            "host_jurisdiction": _country(subject.facts.get(HOST_COUNTRY, "")),
        }

    def _listed(self, base_publisher: str) -> PartyMatch:
        return self.screen.screen(self.publishers.named(base_publisher)).match

    def _days(self, facts: Mapping[str, str]) -> int:
        """Days since the hub says that the model was made; a time to come is not known."""
        try:
            made = dt.datetime.fromisoformat(facts.get(_CREATED, ""))
        except ValueError:
            return _UNKNOWN_DAYS
        if made.tzinfo is None:
            made = made.replace(tzinfo=dt.UTC)
        return max(_UNKNOWN_DAYS, (self.clock() - made).days)


def _organisation(name: str) -> str:
    try:
        return organisation(RepoId.parse(name))
    except OutlastError:
        return ""


def _country(text: str) -> str:
    return text if text in COUNTRIES else UNKNOWN


def _licence(subject: Subject) -> dict[str, Any]:
    licence = read_licence(subject.licence)
    return {"spdx": licence.spdx, **_conditions(licence.conditions), "text": _licence_text(subject)}


@lru_cache(maxsize=1024)
def _conditions(conditions: Conditions) -> dict[str, Any]:
    """Is not changed."""
    return asdict(conditions)


def _licence_text(subject: Subject) -> str:
    """The sha256 of the licence's text among the files; the first, where there are several. A text
    that is not archived yet is named by its hub alone, and is left out.
    """
    missing = set(subject.revision.missing) if subject.revision is not None else set()
    found = sorted(
        (entry.path.count("/"), entry.path, entry.sha256.hex)
        for entry in subject.files
        if entry.sha256 is not None
        and subject.revision is not None
        and entry not in missing
        and _LICENCE_FILE.match(entry.path.rpartition("/")[2])
    )
    return found[0][2] if found else ""


def _claims(claims: Claims) -> dict[str, Any]:
    standings = {state.standing for state in claims.states}
    observed = claims[Claim.OBSERVED]
    return {
        **{state.claim.value: state.holds for state in claims.states},
        "stale": Standing.STALE in standings,
        "refused": Standing.REFUSED in standings,
        "revoked": bool(claims.revoked),
        "revoked_accepted": bool(claims.revoked) and claims.revoked_accepted,
        "observers": len(observed.who) if observed.holds else 0,
    }
