"""A hostile endpoint ends as untestable, with a reason: never as a hang or a verdict."""

import json
import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, cast

import pytest

from outlast.core.cancel import Cancel
from outlast.features.audit.asking.answers import UntestableError, read_answer
from outlast.features.audit.asking.budget import AuditBudget, AuditBudgetEndedError
from outlast.features.audit.asking.endpoint import AskTuning, AuditedEndpoint, RefusedRequestError
from outlast.features.audit.asking.prompts import make_prompts
from outlast.features.audit.audit import Audit, AuditOptions
from outlast.features.audit.evidence import AuditFinding, Verdict
from outlast.sources.http import HttpClient
from outlast.sources.settings import HttpSettings
from tests.features.audit.hostile_server import Reply, completion, hostile, send

if TYPE_CHECKING:
    from outlast.features.audit.reference.reference import Reference

QUICK = AskTuning(answer_seconds=0.5, patience_seconds=0.3)
TOP = [{"token": chr(97 + n), "logprob": -1.5 - n / 10} for n in range(6)]


def row(token: str, logprob: Any) -> dict[str, Any]:
    return {"token": token, "logprob": logprob}


class NoReference:
    """Stands where no answer may come to be compared."""

    build = "none"
    honest = ("own",)

    def render(self, messages: Any) -> list[Any]:
        del messages
        return []

    def tokenize(self, text: str) -> list[Any]:
        del text
        return []


def audited(reply: Reply) -> AuditFinding:
    with hostile(reply) as url, HttpClient(HttpSettings(user_agent="test")) as http:
        budget = AuditBudget(requests=20)
        endpoint = AuditedEndpoint(
            url, "m", None, http=http, budget=budget, cancel=Cancel(), tuning=QUICK
        )
        reference = cast("Reference", NoReference())
        options = AuditOptions(b"s", prompts=4)
        finding, report = Audit(endpoint, reference, budget, options).run()
    assert report["test"] is None
    return finding


def hang(handler: BaseHTTPRequestHandler, body: Any, number: int) -> None:
    del body, number
    handler.connection.settimeout(20)
    handler.connection.recv(1)  # until the client goes


def drip(handler: BaseHTTPRequestHandler, body: Any, number: int) -> None:
    del body, number
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    handler.connection.settimeout(0.1)
    for _ in range(200):
        handler.wfile.write(b" ")
        try:
            if not handler.connection.recv(1):
                return
        except TimeoutError:
            continue


def giant(handler: BaseHTTPRequestHandler, body: Any, number: int) -> None:
    del body, number
    handler.send_response(200)
    handler.send_header("Content-Length", str(10 * 10**9))
    handler.end_headers()
    block = b"A" * 65536
    for _ in range(10 * 10**9 // len(block)):
        handler.wfile.write(block)


def saying(make: Callable[[dict[str, Any], int], bytes]) -> Reply:
    return lambda handler, body, number: send(handler, make(body, number))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (hang, "no whole answer"),
        (drip, "no whole answer"),
        (giant, "no whole answer"),
        (saying(lambda *_: b"\xff\xfe{"), "not UTF-8"),
        (saying(lambda *_: b"[" * 100_000), "not a chat completion"),
        (saying(lambda *_: b"{}"), "not a chat completion"),
        (saying(lambda _, n: completion("a", f"m{n}")), "answers as 'm1'"),
        (saying(lambda _, n: completion(f"a{n}")), "no answer could be compared"),
        (saying(lambda *_: completion("always this")), "cached, or ignored"),
        (saying(lambda *_: completion("a", tops=[TOP[::-1]])), "not in order"),
        (saying(lambda *_: completion("a", tops=[[*TOP, TOP[-1]]])), "names one twice"),
        (saying(lambda *_: completion("a", tops=[[row("a", 3.0)]])), "above 0"),
        (saying(lambda *_: completion("a", tops=[[row("a", -0.1), row("b", -0.1)]])), "sum to"),
        (saying(lambda *_: completion("a", tops=[[row("a", "x")]])), "is no number"),
        (saying(lambda *_: completion("a", tops=[[row("a", float("nan"))]])), "number NaN"),
        (saying(lambda *_: completion("a", tops=[[row("a", float("inf"))]])), "Infinity"),
        (lambda h, *_: send(h, b"{}", 429, Retry_After="9999"), "asks for patience"),
        (lambda h, *_: send(h, b"<html>", 403), "status 403"),
        (lambda h, *_: send(h, b"", 302, Location="http://127.0.0.1:1/"), "status 302"),
        (lambda h, *_: send(h, b'{"error": {"message": "no"}}', 400), "refuses a plain"),
    ],
)
def test_it_is_untestable(reply: Reply, reason: str) -> None:
    finding = audited(reply)
    assert finding.verdict is Verdict.UNTESTABLE
    assert reason in finding.reason


def test_a_number_that_overflows_is_none() -> None:
    body = completion("a", tops=[[row("a", -1)]]).replace(b"-1", b"-1e999")
    with pytest.raises(UntestableError, match="no number"):
        read_answer(body)


def test_who_asks_for_patience_gets_it() -> None:
    def reply(handler: BaseHTTPRequestHandler, body: Any, number: int) -> None:
        del body
        if number == 0:
            send(handler, b"{}", 429, Retry_After="0")
        else:
            send(handler, completion("yes"))

    with hostile(reply) as url, HttpClient(HttpSettings(user_agent="test")) as http:
        endpoint = AuditedEndpoint(
            url, "m", None, http=http, budget=AuditBudget(), cancel=Cancel(), tuning=QUICK
        )
        assert endpoint.ask("q", 1, 1, {}).text == "yes"


def test_a_port_that_nothing_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    with HttpClient(HttpSettings(user_agent="test")) as http:
        endpoint = AuditedEndpoint(
            url, "m", None, http=http, budget=AuditBudget(), cancel=Cancel(), tuning=QUICK
        )
        with pytest.raises(UntestableError, match="no whole answer"):
            endpoint.ask("q", 1, 1, {})


def test_what_is_asked_says_all_parameters() -> None:
    seen: list[dict[str, Any]] = []

    def reply(handler: BaseHTTPRequestHandler, body: Any, number: int) -> None:
        del number
        seen.append({**body, "auth": handler.headers["Authorization"]})
        send(handler, b'{"error": "no"}', 404)

    with hostile(reply) as url, HttpClient(HttpSettings(user_agent="test")) as http:
        endpoint = AuditedEndpoint(
            url, "m", "secret", http=http, budget=AuditBudget(), cancel=Cancel()
        )
        with pytest.raises(RefusedRequestError, match="no"):
            endpoint.ask("q", 1, 7, {"temperature": 0, "top_p": 1})
    assert seen[0]["auth"] == "Bearer secret"
    assert json.dumps(seen[0]["messages"]) == '[{"role": "user", "content": "q"}]'
    assert [seen[0][k] for k in ("max_tokens", "temperature", "top_p", "n")] == [7, 0, 1, 1]


def test_a_budget_is_never_passed() -> None:
    budget = AuditBudget(requests=3, tokens=100, cost=1.0, prices=(1e4, 2e4))
    budget.take(10, 20)
    with pytest.raises(AuditBudgetEndedError):
        budget.take(30, 20)  # 0.5 + 0.7 in money
    budget.take(1, 1)
    with pytest.raises(AuditBudgetEndedError):
        budget.take(70, 0)
    budget.take(0, 0)
    with pytest.raises(AuditBudgetEndedError):
        budget.take(0, 0)
    assert (budget.asked, budget.used) == (3, 32)


def test_prompts_are_new_with_each_seed() -> None:
    first = make_prompts(b"a", 50)
    assert make_prompts(b"a", 50) == first
    assert len(set(first)) == 50
    assert len(set(first) & set(make_prompts(b"b", 50))) < 10
