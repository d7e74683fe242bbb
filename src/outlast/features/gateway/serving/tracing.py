"""Traces for OpenTelemetry: a span for each request, with its route, what answered, what did not,
and when the first token came. No prompt, no answer, no key and no name of a caller is in one.

Needs the extra `otel`, and `[tracing]` in the file of routes. Spans are sent by a thread of the
SDK, in batches; where the collector is gone, they are dropped.
"""

import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from outlast.core.errors import BadConfigError
from outlast.features.gateway.routes.values import TracingSettings

_NANO: Final = 1_000_000_000
_PARENT: Final = ("traceparent", "tracestate")
"""What a caller may say of the trace that its request belongs to."""


@dataclass(frozen=True, slots=True)
class Traced:
    """One request that has ended. `began`: seconds since 1970; `took` and `first` (until the first
    token, None: there was none) in seconds. `passed`: targets that did not answer, and why;
    `continued`: how often another target went on with a stream. Tokens are None where no target
    was asked.
    """

    route: str
    kind: str
    streamed: bool
    status: int
    began: float
    took: float
    first: float | None = None
    target: str = ""
    model: str = ""
    provider: str = ""
    substituted_for: str = ""
    passed: tuple[tuple[str, str], ...] = ()
    continued: int = 0
    prompt_tokens: int | None = None
    answer_tokens: int | None = None


class RequestTracer(Protocol):
    """Hears of each request that has ended. Called on the event loop: returns at once."""

    def ended(self, request: Traced, headers: Mapping[str, str]) -> None:
        """`headers` are the caller's, of which only those of W3C's trace context are read."""

    def close(self) -> None:
        """Sends what waits; takes as long as the collector does, 5 s at most."""


def tracer_of(settings: TracingSettings | None) -> RequestTracer | None:
    """What the file of routes asks for; None: nothing. Raises :class:`BadConfigError` where the
    extra is not installed.
    """
    if settings is None:
        return None
    if importlib.util.find_spec("opentelemetry") is None or not _has_exporter():
        raise BadConfigError("[tracing] needs OpenTelemetry's SDK", hint="pip install '.[otel]'")
    return _OtelTracer(settings)


def _has_exporter() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


class _OtelTracer:
    def __init__(self, settings: TracingSettings) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - likewise
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - likewise
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - likewise
        from opentelemetry.sdk.trace.sampling import (  # noqa: PLC0415 - likewise
            ParentBased,
            TraceIdRatioBased,
        )
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - likewise
            TraceContextTextMapPropagator,
        )

        # What it logs of a collector that is gone would be a line a batch.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.share)),
            resource=Resource.create({"service.name": settings.service}),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=settings.endpoint, timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("outlast.gateway")
        self._propagator = TraceContextTextMapPropagator()

    def ended(self, request: Traced, headers: Mapping[str, str]) -> None:
        from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415 - an extra

        carrier = {name: headers[name] for name in _PARENT if name in headers}
        began = int(request.began * _NANO)
        span = self._tracer.start_span(
            f"{request.kind} {request.route}",
            context=self._propagator.extract(carrier) if carrier else None,
            kind=SpanKind.SERVER,
            attributes=_attributes(request),
            start_time=began,
        )
        for target, reason in request.passed:
            told = {"outlast.target": target, "outlast.reason": reason}
            span.add_event("outlast.passed", told, timestamp=began)
        if request.status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end(end_time=began + int(request.took * _NANO))

    def close(self) -> None:
        self._provider.shutdown()


def _attributes(request: Traced) -> dict[str, Any]:
    """By OpenTelemetry's conventions for generative models, where these have a name."""
    found = {
        "gen_ai.operation.name": "chat" if request.kind == "chat" else request.kind,
        "gen_ai.request.model": request.route,
        "gen_ai.response.model": request.model,
        "gen_ai.provider.name": request.provider,
        "gen_ai.usage.input_tokens": request.prompt_tokens,
        "gen_ai.usage.output_tokens": request.answer_tokens,
        "http.response.status_code": request.status,
        "outlast.route": request.route,
        "outlast.target": request.target,
        "outlast.streamed": request.streamed,
        "outlast.first_token_seconds": request.first,
        "outlast.substituted_for": request.substituted_for,
        "outlast.continued": request.continued,
    }
    return {name: value for name, value in found.items() if value not in {None, ""}}
