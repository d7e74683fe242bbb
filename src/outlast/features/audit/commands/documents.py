"""Lines of `audit` and its subcommands."""

from collections.abc import Mapping
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import Digest


@document("audit")
class AuditedDocument(Document):
    """The verdict of an audit."""

    type: Literal["audited"] = "audited"
    endpoint: Annotated[str, "the URL that was asked, up to /v1"]
    model: Annotated[str, "the model that was asked for"]
    manifest: Annotated[Digest, "the manifest of the weights that it was compared with"]
    verdict: Annotated[
        str, "`consistent`, `divergent`, `inconclusive` or `untestable`; each has an exit status"
    ]
    reason: Annotated[str, "why, in words"]
    test: Annotated[str | None, "`logprobs`, `greedy` or `sampled`; null: none was possible"]
    alpha: Annotated[float, "the error rate that was asked for"]
    p_value: Annotated[float | None, "how likely honest answers differ as much"]
    statistic: Annotated[
        float | None, "the mean difference, in nats; of `sampled` the log evidence"
    ]
    floor: Annotated[float | None, "what it has to exceed for an alarm, in nats"]
    smallest: Annotated[
        float | None, "the difference that would have been found with a power of 90 %, in nats"
    ]
    power: Annotated[Mapping[str, float] | None, "by alternative, from 0 to 1"]
    explanations: Annotated[
        Mapping[str, float] | None,
        "of a divergent endpoint: what it may serve, each with its share of the likelihood",
    ]
    requests: Annotated[int, "requests that were sent"]
    tokens: Annotated[int, "tokens that were asked for, of prompts and answers"]


@document("audit")
class ReplayedAuditDocument(Document):
    """The verdict that follows from the evidence of a report, in `audit replay`."""

    type: Literal["replayed"] = "replayed"
    verdict: Annotated[str, "the verdict, computed anew"]
    said: Annotated[str, "the verdict that the report says"]
    same: Annotated[bool, "whether all figures of the report follow from its evidence"]
    keys: Annotated[list[str], "fingerprints of the keys whose signature lies beside the report"]
    reason: Annotated[str, "why, in words"]
    p_value: Annotated[float | None, "how likely honest answers differ as much"]
    statistic: Annotated[float | None, "the mean difference, in nats"]


@document("audit")
class ComparedEndpointDocument(Document):
    """An endpoint beside others that are said to serve the same weights, in `audit compare`; the
    best comes first.
    """

    type: Literal["compared"] = "compared"
    endpoint: Annotated[str, "the URL that was asked, up to /v1"]
    model: Annotated[str, "the model that was asked for"]
    manifest: Annotated[Digest, "the manifest of the weights that it was compared with"]
    time: Annotated[int, "when it was audited, in seconds since 1970"]
    verdict: Annotated[str, "the verdict, computed anew"]
    reason: Annotated[str, "why, in words"]
    test: Annotated[str | None, "`logprobs`, `greedy` or `sampled`; null: none was possible"]
    p_value: Annotated[float | None, "how likely honest answers differ as much"]
    deviation: Annotated[
        float | None, "the difference (of `sampled` the log evidence) as a share of an alarm's"
    ]
    explanations: Annotated[
        Mapping[str, float] | None,
        "of a divergent endpoint: what it may serve, each with its share of the likelihood",
    ]
    seconds: Annotated[float | None, "the median of whole answers; null: none came"]
    tokens: Annotated[int, "tokens of an answer, at most"]
    price: Annotated[
        list[float] | None, "of a million tokens of prompts, and of answers, as it was given"
    ]


@document("audit")
class WatchedAuditDocument(Document):
    """One more audit of a watched endpoint, and what all of them come to, in `audit watch`."""

    type: Literal["audit_watched"] = "audit_watched"
    endpoint: Annotated[str, "the URL that was asked, up to /v1"]
    model: Annotated[str, "the model that was asked for"]
    manifest: Annotated[Digest, "the manifest of the weights that it is compared with"]
    alarm: Annotated[bool, "whether the evidence ever reached what an alarm needs"]
    evidence: Annotated[float, "the logarithm of the evidence against it, of all audits"]
    highest: Annotated[float, "the most that it ever came to"]
    needed: Annotated[float, "what raises an alarm"]
    alpha: Annotated[float, "with which probability an honest endpoint ever raises one"]
    rounds: Annotated[int, "audits so far"]
    untestable: Annotated[int, "audits that could not be counted"]
    verdict: Annotated[str, "the verdict of this audit by itself"]
    reason: Annotated[str, "why, in words"]
    p_value: Annotated[float | None, "of this audit by itself"]
    requests: Annotated[int, "requests of all audits"]
    tokens: Annotated[int, "tokens that all audits asked for, of prompts and answers"]


@document("audit")
class ContractClauseDocument(Document):
    """One thing that an endpoint's API promises, and what was found, in `audit contract`."""

    type: Literal["contract_clause"] = "contract_clause"
    endpoint: Annotated[str, "the URL that was asked, up to /v1"]
    model: Annotated[str, "the model that was asked for"]
    manifest: Annotated[Digest, "the manifest of the model that it is said to be"]
    clause: Annotated[str, "what was checked"]
    state: Annotated[str, "`kept`, `broken`, `refused` (with an error) or `untestable`"]
    detail: Annotated[str, "what was found, in words"]


@document("audit")
class MeasuredSpeedDocument(Document):
    """How fast an endpoint answers, in `audit speed`: what was measured, then each file beside it.
    Times are in seconds, medians and 99th percentiles.
    """

    type: Literal["measured_speed"] = "measured_speed"
    source: Annotated[str, "`measured`, or the name of the file"]
    completed: Annotated[int, "answers that came whole"]
    first: Annotated[float | None, "until the first chunk of text"]
    first_p99: Annotated[float | None, "the same, of all but 1 % of the answers"]
    between: Annotated[float | None, "of a token after the first one: the mean of its answer"]
    between_p99: Annotated[float | None, "the same, of all but 1 % of the answers"]
    whole: Annotated[float | None, "until the end of an answer"]
    whole_p99: Annotated[float | None, "the same, of all but 1 % of the answers"]
    tokens_per_second: Annotated[float | None, "of all answers together"]
    seconds: Annotated[float | None, "that all of them took"]
    failures: Annotated[Mapping[str, int], "answers that did not come whole, by reason"]
