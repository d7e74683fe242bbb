"""Lines of `gateway` and its subcommands."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from outlast.cli.documents.document import OMITTED, Document, document
from outlast.features.gateway.accounts.periods import Period


@document("gateway")
class ServingGatewayDocument(Document):
    """The gateway answers. Its log is JSON, too, and goes to stderr."""

    type: Literal["serving"] = "serving"
    url: Annotated[str, "the base URL for OpenAI's clients"]
    routes: Annotated[Sequence[str], "the models that callers may name"]


@document("gateway")
class CheckedTargetDocument(Document):
    """A server of a target, as `gateway check` found it."""

    type: Literal["checked"] = "checked"
    target: Annotated[str, "the target, as the file of routes names it"]
    url: Annotated[str, "where it is; `archive`: an engine of the gateway's own"]
    answers: Annotated[bool, "whether it answered with one token"]
    fault: Annotated[str | None, "the kind of fault, where it did not"]
    error: Annotated[str | None, "the fault in words"]
    seconds: Annotated[float, "until it answered, an engine's start included"]


@document("gateway")
class DrilledRouteDocument(Document):
    """A route while one hosted target is blocked, in `gateway drill`."""

    type: Literal["drilled"] = "drilled"
    route: Annotated[str, "the route"]
    blocked: Annotated[str, "the hosted target that is not asked"]
    target: Annotated[str | None, "the target that answers in its place; null: none does"]
    seconds: Annotated[float | None, "until it answered"]
    faults: Annotated[Sequence[str], "the other targets that were asked first, and their faults"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPart:
    """A budget of a key."""

    period: Annotated[Period, "for how long it is (UTC); `open`: at once"]
    route: Annotated[str, "the route; `*`: all together"]
    tokens: Annotated[int | None, "most tokens; null: no limit"]
    dollars: Annotated[str | None, "most money; null: no limit"]
    requests: Annotated[int | None, "most requests; null: no limit"]
    tokens_used: Annotated[int, "tokens that are spent or set aside"]
    dollars_used: Annotated[str, "money that is spent or set aside"]
    requests_used: Annotated[int, "requests that are counted"]


@document("gateway")
class GatewayKeyDocument(Document):
    """A key of the gateway."""

    type: Literal["gateway-key"] = "gateway-key"
    id: Annotated[str, "its id, which the secret begins with"]
    name: Annotated[str, "its name"]
    created: Annotated[str, "when it was made (ISO 8601, UTC)"]
    revoked: Annotated[str | None, "when it was revoked; null: it is not"]
    models: Annotated[Sequence[str], "globs of the routes that it may use"]
    budgets: Annotated[Sequence[BudgetPart], "its budgets"]
    secret: Annotated[str | None, "what users send; only where it was made just now"] = field(
        default=None, metadata=OMITTED
    )


@document("gateway")
class GatewayUsageDocument(Document):
    """What was used in a day from one origin."""

    type: Literal["gateway-usage"] = "gateway-usage"
    day: Annotated[str, "the day (UTC)"]
    key: Annotated[str, "name of the key, its id where it is gone; empty: none was asked for"]
    route: Annotated[str, "the route"]
    target: Annotated[str, "which of its targets"]
    provider: Annotated[str, "who runs it; `local`: this machine"]
    model: Annotated[str, "the model there"]
    jurisdiction: Annotated[str, "country of the model's publisher, or `unknown`"]
    certain: Annotated[
        bool, "false: it may have been used, and counts as the most that it can have been"
    ]
    requests: Annotated[int, "requests"]
    prompt_tokens: Annotated[int, "tokens of prompts"]
    completion_tokens: Annotated[int, "tokens of answers"]
    dollars: Annotated[str | None, "money, exactly; null: no price is known"]
    unpriced_requests: Annotated[int, "requests whose price is not known: no part of the money"]
    factor: Annotated[str, "what [tariffs] multiplies the money with"]
    dollars_with_factor: Annotated[str | None, "the money times the factor"]
    seconds: Annotated[float, "seconds until the answers were complete, summed up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePart:
    """A point of the curve of a machine."""

    load: Annotated[int, "requests at once"]
    tokens_per_second: Annotated[float, "tokens of answers a second"]
    dollars_per_million: Annotated[float, "dollars for a million tokens of answers"]


@document("gateway")
class GatewayCostDocument(Document):
    """What a route cost at providers, and what a machine of one's own would cost."""

    type: Literal["gateway-cost"] = "gateway-cost"
    route: Annotated[str, "the route"]
    requests: Annotated[int, "requests to providers"]
    prompt_tokens: Annotated[int, "tokens of their prompts"]
    completion_tokens: Annotated[int, "tokens of their answers"]
    dollars: Annotated[str | None, "what they cost; null: no price is known"]
    unpriced_requests: Annotated[int, "those of them whose price is not known"]
    local_requests: Annotated[int, "requests that this machine answered"]
    dollars_per_million: Annotated[
        float | None,
        "hosted dollars for a million tokens of answers, their prompts included; null: not known",
    ]
    average_tokens_per_second: Annotated[float, "tokens of all answers a second, on average"]
    curve: Annotated[Sequence[CurvePart], "the machine of [local], as measured; none: not given"]
    cheaper_from_tokens_per_second: Annotated[
        float | None, "tokens of answers a second, at all hours, from which the machine is cheaper"
    ]
    cheaper_from_load: Annotated[
        float | None, "requests at once at which it gives that; null: it cannot, or is not known"
    ]
    own_is_cheaper: Annotated[
        bool | None, "whether the machine is cheaper at the average load; null: not known"
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayServerPart:
    """A server of a target."""

    url: Annotated[str, "where it is; `archive`: an engine of the gateway's own"]
    state: Annotated[str, "of its breaker: `closed` (it is asked), `half-open` or `open`"]
    fault: Annotated[str | None, "the kind of fault, where it does not answer"]
    retry_in: Annotated[float | None, "seconds until it is tried again"]
    under_way: Annotated[int, "requests that it is answering"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayTargetPart:
    """A target of a route."""

    target: Annotated[str, "the target, as the file of routes names it"]
    requests: Annotated[int, "requests that it answered"]
    substitutions: Annotated[int, "of these, in place of the route's first choice"]
    faults: Annotated[int, "times that it did not answer, and the next target was asked"]
    servers: Annotated[Sequence[GatewayServerPart], "its servers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRoutePart:
    """A route."""

    route: Annotated[str, "the model that callers name"]
    mode: Annotated[str, "in which order its targets are asked"]
    targets: Annotated[Sequence[GatewayTargetPart], "its targets"]


@document("status")
class RunningGatewayDocument(Document):
    """A gateway that runs on the archive."""

    type: Literal["gateway"] = "gateway"
    pid: Annotated[int, "the process that was started"]
    processes: Annotated[int, "processes that answer behind its port"]
    url: Annotated[str | None, "the base URL for OpenAI's clients; null: it does not answer"]
    since: Annotated[int | None, "when it began, in seconds since 1970"]
    under_way: Annotated[int, "requests that it is answering"]
    draining: Annotated[bool, "whether it ends once these are done"]
    problem: Annotated[str | None, "why a process of it says nothing, for a person"]
    routes: Annotated[Sequence[GatewayRoutePart], "its routes"]
