"""A report of an audit, as its file has it: each value of a stated type and within bounds, so that
a hostile report takes no more memory or time than an honest one.
"""

from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from outlast.core.errors import MalformedError
from outlast.features.audit.evidence import AuditFinding
from outlast.features.audit.tuning import MOST_PROMPTS, MOST_TOKENS

REPORT_TYPE: Final = "urn:outlast:audit-report:v2"

Line: TypeAlias = Annotated[str, Meta(max_length=2048)]
Hex: TypeAlias = Annotated[str, Meta(max_length=4096, pattern=r"^([0-9a-f]{2})*\Z")]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Nats: TypeAlias = Annotated[float, Meta(ge=-1e6, le=1e6)]
Rate: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=1e6)]
Row: TypeAlias = Annotated[list[Nats], Meta(min_length=1, max_length=MOST_TOKENS)]
Rows: TypeAlias = Annotated[list[Row], Meta(max_length=MOST_PROMPTS)]
Names: TypeAlias = Annotated[list[Line], Meta(max_length=64)]
ByName: TypeAlias = Annotated[dict[Line, Rows], Meta(max_length=64)]


class _Strict(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Refuses keys that it does not know; leaves out what has its default."""


class ReportedExchange(_Strict, frozen=True):
    """What was sent and what came, as text; `prompt` is the number of the question in the report's
    list, `seconds` how long the answer took.
    """

    prompt: Annotated[int, Meta(ge=0, le=MOST_PROMPTS)]
    request: Annotated[str, Meta(max_length=1 << 20)]
    response: Annotated[str, Meta(max_length=8 << 20)]
    seconds: Seconds


class ReportedPosition(_Strict, frozen=True):
    """What the reference says of one token; which keys there are depends on the test. All numbers
    are log probabilities in nats.
    """

    at: Annotated[int, Meta(ge=0, lt=MOST_TOKENS)] = 0
    """`logprobs`: which of the served tokens it is."""
    reference: Annotated[list[tuple[Hex, Nats]], Meta(max_length=16)] = []
    """`logprobs`: the reference's likeliest tokens."""
    highest: Nats | None = None
    chosen: Nats | None = None
    """`greedy`: of the reference's first choice, and of the served token."""
    honest: Annotated[list[Nats], Meta(max_length=64)] = []
    alternatives: Annotated[list[Nats], Meta(max_length=64)] = []
    """`sampled`: of the served token, in the order of the report's names."""


class ReportedAnswer(_Strict, frozen=True):
    """The evidence of one answer: the number of its exchange, its positions, and how many tokens
    could not be compared.
    """

    exchange: Annotated[int, Meta(ge=0, lt=4 * MOST_PROMPTS)]
    positions: Annotated[list[ReportedPosition], Meta(max_length=MOST_TOKENS)]
    dropped: Count


class ReportedCalibration(_Strict, frozen=True):
    """Distances at the positions of honest questions, by numerics and by alternative."""

    honest: ByName
    alternatives: ByName


class ReportedFinding(_Strict, frozen=True):
    """The verdict as the auditor reached it; see :class:`AuditFinding`."""

    verdict: Line
    reason: Line
    statistic: Nats | None = None
    p_value: Rate | None = None
    floor: Nats | None = None
    smallest: Nats | None = None
    power: Annotated[dict[Line, Rate], Meta(max_length=64)] | None = None
    explanations: Annotated[dict[Line, Rate], Meta(max_length=64)] | None = None


class AuditReport(_Strict, frozen=True):
    """The whole report. Its keys are those of docs/format/audit-report.md."""

    type: Line
    endpoint: Line
    model: Line
    repo: Line
    revision: Line
    manifest: Line
    files: Annotated[list[Line], Meta(max_length=10_000)]
    versions: Annotated[dict[Line, Line], Meta(max_length=16)]
    time: Annotated[int, Meta(ge=0, lt=253_402_300_800)]
    test: Line | None
    alpha: Annotated[float, Meta(ge=0.0001, le=0.5)]
    seed: Hex
    prompts: Annotated[list[Line], Meta(max_length=MOST_PROMPTS + 1)]
    commitment: Hex
    tokens: Annotated[int, Meta(ge=1, le=MOST_TOKENS)]
    honest: Names
    alternatives: Names
    calibration: ReportedCalibration
    candidates: ByName
    exchanges: Annotated[list[ReportedExchange], Meta(max_length=4 * MOST_PROMPTS)]
    audited: Annotated[list[ReportedAnswer], Meta(max_length=MOST_PROMPTS)]
    ended: Line
    requests: Count
    tokens_used: Count
    excluded: Count
    finding: ReportedFinding

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they are written."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def report_of_finding(finding: AuditFinding) -> ReportedFinding:
    """A finding as a report has it."""
    return msgspec.convert(finding.to_json(), ReportedFinding)


def report_of(values: object) -> AuditReport:
    """The report with these plain values. Raises :class:`MalformedError`."""
    try:
        return msgspec.convert(values, AuditReport)
    except msgspec.ValidationError as error:
        raise MalformedError(f"not a report of an audit: {error}") from None
