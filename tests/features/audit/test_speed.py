"""`outlast audit speed`: times of chunks, what fails, and the files of other tools."""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from outlast.core.errors import MalformedError
from outlast.engines.llama import LlamaOptions
from outlast.features.audit.speed.figures import (
    as_vllm_bench,
    figures_of,
    percentile,
    read_figures,
)
from outlast.features.audit.speed.streams import StreamedAnswer, StreamingEndpoint, read_stream
from outlast.sources.http import HttpClient
from outlast.sources.settings import HttpSettings
from tests.cli.call import finish, inside, start
from tests.engines.serving import serving_with
from tests.features.audit.hostile_server import Reply, hostile, send
from tests.features.audit.models import small_f16

if TYPE_CHECKING:
    from outlast.sources.http import Response

Json = dict[str, Any]
READS = "outlast.features.audit.speed.streams"


def event(text: str = "", finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"


USAGE = {"prompt_tokens": 9, "completion_tokens": 4}
WHOLE = event("a") + event("b") + event("", "stop", usage=USAGE) + b"data: [DONE]\n\n"


def streams(body: bytes, status: int = 200) -> Reply:
    return lambda handler, _body, _number: send(handler, body, status)


@contextmanager
def endpoint(reply: Reply, seconds: float = 30.0) -> Iterator[StreamingEndpoint]:
    with hostile(reply) as url, HttpClient(HttpSettings(user_agent="test")) as http:
        yield StreamingEndpoint(http, url, "m", "a-key", seconds)


def test_a_stream_is_asked_for_and_read() -> None:
    told: list[Json] = []

    def reply(handler: BaseHTTPRequestHandler, body: Json, _number: int) -> None:
        told.append({"key": handler.headers["Authorization"], **body})
        send(handler, WHOLE)

    with endpoint(reply) as asked:
        answer = asked.ask("a question", 7)
    first, second = answer.chunks
    assert 0 < first <= second <= answer.ended
    assert (answer.tokens, answer.prompt, answer.failure) == (4, 9, "")
    [body] = told
    assert (body["key"], body["model"], body["max_tokens"]) == ("Bearer a-key", "m", 7)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


class Parts:
    """A body that comes in these parts, an hour after each other."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts)
        self.now = 0.0

    def readinto(self, buffer: memoryview) -> int:
        self.now += 3600
        part = self.parts.pop(0) if self.parts else b""
        buffer[: len(part)] = part
        return len(part)


def test_chunks_have_the_times_at_which_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    body = Parts(event("a") + event("b")[:9], event("b")[9:], b": a comment\n", event("", "stop"))
    monkeypatch.setattr(f"{READS}.monotonic", lambda: body.now)
    answer = read_stream(cast("Response", body), 0.0, 1e6)
    assert list(answer.chunks) == [3600.0, 7200.0]
    assert answer.ended == 5 * 3600
    assert not answer.failure


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (streams(b"{}", 429), "HTTP 429"),
        (streams(b"{}", 503), "HTTP 503"),
        (streams(event("a")), "cut or silent"),
        (streams(b"data: [DONE]\n\n"), "cut or silent"),
        (streams(b"data: {\n\n"), "no stream of chat completions"),
        (streams(b"data: []\n\n"), "no stream of chat completions"),
        (streams(b'data: {"choices": [1]}\n\n'), "no stream of chat completions"),
        (streams(b"data: " + b"[" * 100_000 + b"\n\n"), "no stream of chat completions"),
        (streams(b"data: " + b"x" * (2 << 20)), "no stream of chat completions"),
        (streams(b"\xff" * 100), "cut or silent"),
    ],
)
def test_what_fails_says_how(reply: Reply, why: str) -> None:
    with endpoint(reply) as asked:
        assert asked.ask("a question", 7).failure == why


def test_a_stream_without_end_is_ended() -> None:
    def reply(handler: BaseHTTPRequestHandler, _body: Json, _number: int) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(event("a"))

    with endpoint(reply, seconds=0.2) as asked:
        assert asked.ask("a question", 7).failure


def test_an_endpoint_that_does_not_know_usage_in_streams() -> None:
    def reply(handler: BaseHTTPRequestHandler, body: Json, _number: int) -> None:
        old = "stream_options" in body
        send(handler, b"{}" if old else event("a") + event("b", "stop"), 400 if old else 200)

    with endpoint(reply) as asked:
        answer = asked.ask("a question", 7)
    assert (len(answer.chunks), answer.tokens, answer.failure) == (2, None, "")


ANSWERS = [
    StreamedAnswer((0.1, 0.2, 0.4), 0.5, 3, 10),
    StreamedAnswer((0.3, 0.3), 0.4, None, None),
    StreamedAnswer(failure="HTTP 429"),
]


def test_figures() -> None:
    found = figures_of("measured", ANSWERS, 2.0)
    assert found.first is not None
    assert found.between is not None
    assert found.whole is not None
    assert (found.completed, found.failures) == (2, {"HTTP 429": 1})
    assert found.first.median == pytest.approx(0.2)
    assert found.between.median == pytest.approx((0.2 + 0.1) / 2)
    assert found.whole.p99 == pytest.approx(np.percentile([0.5, 0.4], 99))
    assert found.tokens_per_second == pytest.approx(5 / 2)
    none = figures_of("measured", ANSWERS[2:], 2.0)
    assert (none.completed, none.first, none.tokens_per_second) == (0, None, None)


def test_percentiles_are_those_of_numpy() -> None:
    rng = np.random.default_rng(1)
    for count in (1, 2, 3, 10, 101):
        values = rng.random(count).tolist()
        for share in (0.0, 0.5, 0.99, 1.0):
            assert percentile(values, share) == pytest.approx(np.percentile(values, 100 * share))


def test_a_file_as_vllm_bench_writes_it_is_read_again() -> None:
    written = as_vllm_bench("m", ANSWERS, 2.0, 1)
    assert written["mean_ttft_ms"] == pytest.approx(200)
    assert written["median_itl_ms"] == pytest.approx(100)
    assert (written["completed"], written["total_input_tokens"]) == (2, 10)
    found = read_figures("f.json", json.dumps(written).encode())
    own = figures_of("f.json", ANSWERS, 2.0)
    for one, other in ((found.first, own.first), (found.between, own.between)):
        assert one is not None
        assert other is not None
        assert one.median == pytest.approx(other.median)
        assert one.p99 == pytest.approx(other.p99)
    assert found.tokens_per_second == pytest.approx(own.tokens_per_second)
    assert found.failures == {"not completed": 1}


def test_the_files_of_other_tools() -> None:
    milliseconds = {"unit": "ms", "avg": 30.0, "p50": 20.0, "p99": 90.0}
    aiperf = {
        "time_to_first_token": milliseconds,
        "inter_token_latency": {"unit": "ms", "avg": 5.0},
        "request_latency": milliseconds,
        "output_token_throughput": {"unit": "tokens/sec", "avg": 123.0},
        "benchmark_duration": {"unit": "sec", "avg": 15.0},
        "request_count": {"unit": "requests", "avg": 200.0},
        "error_summary": [{"error_details": {"code": 500}, "count": 3}],
    }
    found = read_figures("a.json", json.dumps(aiperf).encode())
    assert found.first is not None
    assert found.between is not None
    assert (found.first.median, found.first.p99) == (0.02, 0.09)
    assert (found.between.median, found.between.p99) == (0.005, None)
    assert (found.completed, found.failures, found.tokens_per_second) == (200, {"errors": 3}, 123)
    good = {"successful": {"median": 20.0, "percentiles": {"p99": 90.0}}}
    metrics = {
        "time_to_first_token_ms": good,
        "inter_token_latency_ms": good,
        "request_latency": {"successful": {"median": 1.5, "percentiles": {"p99": 2.0}}},
        "output_tokens_per_second": {"successful": {"mean": 50.0}},
        "request_totals": {"successful": 9, "errored": 1, "total": 10},
    }
    report = {"benchmarks": [{"metrics": metrics}, {}]}
    found = read_figures("g.json", json.dumps(report).encode())
    assert found.first is not None
    assert found.whole is not None
    assert (found.first.median, found.first.p99) == (0.02, 0.09)
    assert (found.whole.median, found.whole.p99) == (1.5, 2.0)
    assert (found.completed, found.failures, found.tokens_per_second) == (9, {"errors": 1}, 50)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"1",
        b"[" * 100_000,
        b'{"benchmarks": []}',
        b'{"benchmarks": [{"metrics": 1}]}',
        b'{"median_ttft_ms": "x", "completed": 1}',
        b'{"median_ttft_ms": NaN, "completed": 1}',
        b'{"median_ttft_ms": -1, "completed": 1}',
        b'{"median_ttft_ms": true, "completed": 1}',
        b'{"median_ttft_ms": 1e300, "completed": 1}',
        b'{"median_ttft_ms": 1, "completed": 1e999}',
        b'{"time_to_first_token": 1, "request_count": {"avg": 1}}',
    ],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError, match="no result"):
        read_figures("f.json", data)


def test_the_command(tmp_path: Path) -> None:
    model = small_f16(tmp_path / "model")
    words = ("--model", "org/name", "--requests", "4", "--tokens", "8")
    with serving_with(str(model), LlamaOptions(context=512, threads=1)) as server:
        url = server.url + "/v1"
        more = ("--concurrency", "2", "--write", "w.json")
        inside("audit", "speed", url, *words, *more, home=tmp_path).ok()
        done = inside("audit", "speed", url, *words, "--beside", "w.json", home=tmp_path).ok()
        printed = inside("audit", "speed", url, *words, "--json", home=tmp_path).ok()
    head, measured, beside = done.out.splitlines()
    assert head.split()[:2] == ["FIRST", "TOKEN"]
    assert (measured.split()[0], beside.split()[0]) == ("measured", "w.json")
    assert json.loads((tmp_path / "w.json").read_text())["completed"] == 4
    [row] = json.loads(printed.out)
    assert (row["completed"], row["failures"]) == (4, {})
    assert 0 < row["first"] <= row["whole"]


@pytest.mark.parametrize(
    ("bound", "most"),
    [
        (("--max-requests", "3"), 3),
        (("--max-tokens", "500"), 4),
        (("--max-cost", "0.02", "--price", "1", "1000"), 3),
    ],
)
def test_what_the_command_sends_is_bounded(
    tmp_path: Path, bound: tuple[str, ...], most: int
) -> None:
    seen: list[tuple[str | None, str, int]] = []

    def reply(handler: BaseHTTPRequestHandler, body: Json, _number: int) -> None:
        seen.append((handler.headers["Authorization"], body["model"], body["max_tokens"]))
        send(handler, WHOLE)

    with hostile(reply) as url:
        words = ("--model", "theirs", "--key-env", "API_KEY", "--tokens", "5", "--requests", "9")
        inside("audit", "speed", url, *words, *bound, home=tmp_path, env={"API_KEY": "a-key"}).ok()
    assert set(seen) == {("Bearer a-key", "theirs", 5)}
    assert 1 <= len(seen) <= most


def test_an_endpoint_that_answers_nothing_is_an_error(tmp_path: Path) -> None:
    with hostile(streams(b"{}", 429)) as url:
        done = inside("audit", "speed", url, "--model", "m", "--requests", "3", home=tmp_path)
    assert "HTTP 429 (3 times)" in done.failed("unreachable")


def test_ctrl_c_ends_streams_that_do_not(tmp_path: Path) -> None:
    asked, over = threading.Event(), threading.Event()

    def reply(handler: BaseHTTPRequestHandler, _body: Json, _number: int) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(event("a"))
        handler.wfile.flush()
        asked.set()
        over.wait(60)

    with hostile(reply) as url:
        process = start("audit", "speed", url, "--model", "m", home=tmp_path)
        try:
            assert asked.wait(60)
            process.send_signal(signal.SIGINT)
            assert finish(process).code == 130
        finally:
            over.set()
