"""What audits of one endpoint come to together: a small file that outlives the process."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import rfc8785
from msgspec import Meta, Struct

from outlast.core.errors import MalformedError, UsageError
from outlast.features.audit.evidence import SAMPLED, AuditFinding, Verdict, log_course
from outlast.features.audit.reports.document import Count, Line, report_of
from outlast.features.audit.reports.files import write_file
from outlast.features.audit.reports.replaying import sampled_positions
from outlast.features.audit.statistics.betting import FRACTIONS, bet, e_value, log_wealth
from outlast.features.audit.statistics.eprocess import threshold
from outlast.store import disk

WATCH_TYPE: Final = "urn:outlast:audit-watch:v1"
MOST_STATE: Final = 1 << 20
_RECENT: Final = 100
"""Rounds that are kept one by one. Guess: a month of four a day."""
_MOST_LOG: Final = 700.0
"""Of one e-value: what its exponential can be."""

Log = Annotated[float, Meta(ge=-1e9, le=1e9)]


class WatchedRound(Struct, frozen=True, forbid_unknown_fields=True):
    """One audit: when it ended (seconds since 1970), its verdict by itself, its test (empty: none),
    and the logarithm of the evidence of all audits after it.
    """

    time: Count
    verdict: Line
    test: Line
    evidence: Log


class WatchedEndpoint(Struct, frozen=True, forbid_unknown_fields=True):
    """All audits of one endpoint against one model. `wealth`: logarithms, by fraction of
    :data:`~outlast.features.audit.statistics.betting.FRACTIONS`; `highest`: the most that their
    mean ever came to; `untestable`: how many of the `rounds` could not be counted.
    """

    type: Line
    endpoint: Line
    model: Line
    manifest: Line
    alpha: Annotated[float, Meta(ge=0.0001, le=0.5)]
    wealth: Annotated[list[Log], Meta(min_length=len(FRACTIONS), max_length=len(FRACTIONS))]
    highest: Annotated[float, Meta(ge=0, le=1e9)]
    rounds: Count
    untestable: Count
    requests: Count
    tokens: Count
    recent: Annotated[list[WatchedRound], Meta(max_length=_RECENT)]

    @property
    def evidence(self) -> float:
        """The logarithm of the evidence against the endpoint, now."""
        return log_wealth(self.wealth)

    @property
    def alarmed(self) -> bool:
        """Whether it ever reached what honest endpoints reach with the error rate at most."""
        return self.highest >= threshold(self.alpha)

    def require(self, endpoint: str, model: str, manifest: str, alpha: float) -> None:
        """Raises :class:`UsageError` where this is about something else."""
        if (self.endpoint, self.model, self.manifest, self.alpha) != (
            endpoint,
            model,
            manifest,
            alpha,
        ):
            raise UsageError(
                f"the state is about {self.model[:60]!r} at {self.endpoint[:100]}, against the "
                f"manifest {self.manifest[:12]}, with an error rate of {self.alpha:g}",
                hint="choose another --state for another endpoint, revision or --alpha",
            )

    def after(self, finding: AuditFinding, found: Mapping[str, Any]) -> "WatchedEndpoint":
        """With one more audit, of these values of a report."""
        wealth = list(self.wealth)
        for e in e_values(finding, found):
            wealth = bet(wealth, e)
        evidence = log_wealth(wealth)
        said = finding.verdict.value
        last = WatchedRound(found["time"], said, found["test"] or "", evidence)
        return msgspec.structs.replace(
            self,
            wealth=wealth,
            highest=max(self.highest, evidence),
            rounds=self.rounds + 1,
            untestable=self.untestable + (finding.verdict is Verdict.UNTESTABLE),
            requests=self.requests + found["requests"],
            tokens=self.tokens + found["tokens_used"],
            recent=[*self.recent, last][-_RECENT:],
        )


def begun(endpoint: str, model: str, manifest: str, alpha: float) -> WatchedEndpoint:
    """Before the first audit."""
    wealth = [0.0] * len(FRACTIONS)
    return WatchedEndpoint(
        WATCH_TYPE, endpoint, model, manifest, alpha, wealth, 0.0, 0, 0, 0, 0, []
    )


def e_values(finding: AuditFinding, found: Mapping[str, Any]) -> list[float]:
    """The e-values of an audit whose honest questions were new, too. An answer of sampled text is
    one: its likelihood under the mixture over that under the honest numerics.
    """
    if finding.verdict is Verdict.UNTESTABLE or finding.p_value is None:
        return []
    if found["test"] == SAMPLED:
        rows = [row for row in sampled_positions(report_of(found)) if row]
        return [math.exp(min(_MOST_LOG, float(log_course([row])[-1]))) for row in rows]
    differs = (finding.statistic or 0.0) > (finding.floor or 0.0)
    return [e_value(finding.p_value if differs else 1.0)]


class _Summed(Struct, frozen=True, forbid_unknown_fields=True):
    """A state with the sha256 of its canonical JSON."""

    state: WatchedEndpoint
    sha256: Line


def write_state(path: Path, state: WatchedEndpoint) -> None:
    """Writes it durably, for its owner alone. Raises
    :class:`~outlast.core.errors.StorageError`.
    """
    plain = msgspec.to_builtins(state)
    write_file(path, rfc8785.dumps({"state": plain, "sha256": _sum(plain)}))


def read_state(path: Path) -> WatchedEndpoint | None:
    """The state in a file; None where none is there. Raises :class:`MalformedError`."""
    with disk.reporting(path):
        data = disk.read_plain(path, MOST_STATE + 1)
    if data is None:
        return None
    try:
        found = msgspec.json.decode(data, type=_Summed)
        right = found.sha256 == _sum(msgspec.to_builtins(found.state))
    except (msgspec.DecodeError, ValueError, RecursionError):
        right = False
    if not right or found.state.type != WATCH_TYPE:
        raise MalformedError(
            f"{path} is no state of 'audit watch', or is damaged",
            hint="choose another --state, which begins anew",
        )
    return found.state


def _sum(plain: Any) -> str:
    return hashlib.sha256(rfc8785.dumps(plain)).hexdigest()
