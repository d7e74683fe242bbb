"""Traces: a span for each request, that says who answered, and nothing of what was said."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from outlast.core.errors import BadConfigError
from outlast.features.gateway.routes.file import read_routes
from tests.features.gateway.gateways import gateway
from tests.features.gateway.test_falls_over import routes
from tests.features.gateway.upstream import Provider, providers

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
CANARY = "sk-canary-7d1e"


class Collector:
    """Takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    raise AssertionError
                outer.bodies.append(data)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                del args

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def spans(self) -> list[Any]:
        found = []
        for body in self.bodies:
            message = trace_service.ExportTraceServiceRequest.FromString(body)
            for resource in message.resource_spans:
                for scope in resource.scope_spans:
                    found += scope.spans
        return found


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


@pytest.fixture(name="two")
def _two() -> Iterator[list[Provider]]:
    with providers("a", "b") as made:
        yield made


def test_a_span_says_who_answered_and_nothing_else(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    a.doing = {"status": 451}
    text = routes(a, b).replace("[endpoints.b]", '[endpoints.b]\nkey-env = "KEY"')
    with Collector() as collector:
        text += f'\n[tracing]\nendpoint = "{collector.url}"\nservice = "door"\n'
        with gateway(tmp_path, text, environ={"KEY": CANARY}) as caller:
            parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
            headers = {"traceparent": parent, "Authorization": f"Bearer {CANARY}-caller"}
            said = [{"role": "user", "content": f"{CANARY}-prompt"}]
            assert caller.chat(stream=True, messages=said, headers=headers).done
            b.doing = {"status": 500}
            assert caller.chat(messages=said).status == 502
        first, second = sorted(collector.spans, key=lambda span: span.start_time_unix_nano)
    found = attributes(first)
    assert first.name == "chat m"
    assert first.trace_id.hex() == "ab" * 16
    assert first.parent_span_id.hex() == "cd" * 8
    assert found["outlast.route"] == "m"
    assert found["outlast.target"] == "b:small"
    assert found["outlast.substituted_for"] == "a:big"
    assert found["gen_ai.usage.output_tokens"] == 10
    assert (
        0
        < found["outlast.first_token_seconds"] * 1e9
        <= (first.end_time_unix_nano - first.start_time_unix_nano)
    )
    (event,) = first.events
    assert attributes(event) == {"outlast.target": "a:big", "outlast.reason": "banned"}
    assert attributes(second)["http.response.status_code"] == 502
    assert second.status.code == 2
    for body in collector.bodies:
        assert CANARY.encode() not in body
        assert b"w0" not in body
    assert b"door" in collector.bodies[0]


def test_it_is_off_unless_it_is_configured(two: list[Provider], tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    a, b = two
    path.write_text(routes(a, b))
    assert read_routes(path, {}).tracing is None


@pytest.mark.parametrize(
    "said", ['endpoint = "no url"', 'endpoint = "http://x"\nshare = 2', "", "service = 5"]
)
def test_settings_that_are_wrong(two: list[Provider], tmp_path: Path, said: str) -> None:
    path = tmp_path / "gateway.toml"
    a, b = two
    path.write_text(routes(a, b) + f"\n[tracing]\n{said or 'share = 1'}\n")
    with pytest.raises(BadConfigError):
        read_routes(path, {})
