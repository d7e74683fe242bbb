"""Figures for Prometheus: per route and target. No label has anything that a caller wrote."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BETWEEN = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_STATES = ("closed", "half-open", "open")


class GatewayMetrics:
    """The counters of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        both = ["route", "target"]
        self.requests = Counter(
            "outlast_gateway_requests",
            "Requests that a target answered.",
            both,
            registry=self._registry,
        )
        self.refused = Counter(
            "outlast_gateway_refused",
            "Requests that were refused, by status.",
            ["route", "status"],
            registry=self._registry,
        )
        self.tokens = Counter(
            "outlast_gateway_tokens",
            "Tokens, as the target counts them; estimated where it does not.",
            [*both, "kind"],
            registry=self._registry,
        )
        self.money = Counter(
            "outlast_gateway_money_dollars",
            "What requests cost, where the price is known.",
            both,
            registry=self._registry,
        )
        self.first_token = Histogram(
            "outlast_gateway_first_token_seconds",
            "Until the first token of a stream, or a whole answer.",
            both,
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.between = Histogram(
            "outlast_gateway_inter_token_seconds",
            "The mean of a stream's seconds from one chunk to the next.",
            both,
            buckets=_BETWEEN,
            registry=self._registry,
        )
        self.faults = Counter(
            "outlast_gateway_failovers",
            "Times that a target did not answer and the next one was asked.",
            [*both, "fault"],
            registry=self._registry,
        )
        self.substituted = Counter(
            "outlast_gateway_substitutions",
            "Answers by another target than the route's choice.",
            both,
            registry=self._registry,
        )
        self.continued = Counter(
            "outlast_gateway_continued",
            "Streams that broke off and went on at this target.",
            both,
            registry=self._registry,
        )
        self.broken = Counter(
            "outlast_gateway_broken_streams",
            "Streams that ended in an error event.",
            ["route"],
            registry=self._registry,
        )
        self.breaker = Gauge(
            "outlast_gateway_breaker",
            "The breaker of a target's server: 0 closed, 1 half-open, 2 open.",
            ["target", "url"],
            registry=self._registry,
        )
        self.under_way = Gauge(
            "outlast_gateway_under_way",
            "Requests that are being answered.",
            registry=self._registry,
        )
        self.connections = Gauge(
            "outlast_gateway_connections", "Connections that are open.", registry=self._registry
        )

    def stands(self, target: str, url: str, state: str) -> None:
        """Notes the state of a breaker."""
        self.breaker.labels(target, url).set(_STATES.index(state))

    def counts(self, name: str) -> dict[tuple[str, str], int]:
        """What a counter has for each route and target, over all of its other labels."""
        family = f"outlast_gateway_{name}"
        found: dict[tuple[str, str], int] = {}
        for metric in self._registry.collect():
            for sample in metric.samples if metric.name == family else ():
                if sample.name == f"{family}_total":
                    both = sample.labels["route"], sample.labels["target"]
                    found[both] = found.get(both, 0) + int(sample.value)
        return found

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self._registry)
