"""Where a target does not answer, the next one does, and the answer says so."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.features.gateway.accounts.values import Estimate, Spent
from outlast.features.gateway.seams import BudgetSpent
from outlast.features.gateway.serving.open_accounts import AnyCaller, OpenAccounts
from outlast.features.gateway.serving.server import Parts
from tests.features.gateway.gateways import Caller, gateway
from tests.features.gateway.upstream import Provider, providers

WORDS = " ".join(f"w{n}" for n in range(10))
PAGE = "<html><body>Access from your country is blocked</body></html>"
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "reset": ({"reset": True}, "unreachable"),
    "mute": ({"mute": True}, "slow-first-token"),
    "401": ({"status": 401, "body": "{}"}, "key-refused"),
    "403 page": (
        {"status": 403, "body": PAGE, "headers": {"Content-Type": "text/html"}},
        "key-refused",
    ),
    "402": ({"status": 402}, "quota-spent"),
    "404": ({"status": 404}, "model-gone"),
    "403 gone": (
        {"status": 403, "body": json.dumps({"error": {"message": "Model x is not available"}})},
        "model-gone",
    ),
    "451": ({"status": 451, "body": PAGE}, "banned"),
    "400 decommissioned": (
        {"status": 400, "body": json.dumps({"error": {"code": "model_decommissioned"}})},
        "model-gone",
    ),
    "429": ({"status": 429, "headers": {"Retry-After": "7"}}, "rate-limited"),
    "429 quota": (
        {"status": 429, "body": json.dumps({"error": {"code": "insufficient_quota"}})},
        "quota-spent",
    ),
    "500": ({"status": 500}, "server-error"),
    "529": ({"status": 529}, "server-error"),
    "302": ({"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}, "malformed"),
    "page with 200": (
        {"status": 200, "body": PAGE, "headers": {"Content-Type": "text/html"}},
        "malformed",
    ),
}


@pytest.fixture(name="two")
def _two() -> Iterator[list[Provider]]:
    with providers("a", "b") as made:
        yield made


def routes(
    a: Provider, b: Provider, more: str = "", *, waits: float = 30, stall: float = 30
) -> str:
    return f"""
[endpoints.a]
url = "{a.url}"
continues = "prefill"
[endpoints.b]
url = "{b.url}"
continues = "prefill"
[routes.m]
targets = ["a:big", "b:small"]
first-token = {waits}
whole = {2 * waits}
stall = {stall}
{more}
"""


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", FAULTS)
def test_the_next_target_answers(
    two: list[Provider], tmp_path: Path, name: str, stream: bool
) -> None:
    a, b = two
    a.doing, kind = FAULTS[name]
    waits = 0.3 if name == "mute" else 30
    with gateway(tmp_path, routes(a, b, waits=waits)) as caller:
        answer = caller.chat(stream=stream)
        assert answer.status == 200
        if stream:
            assert answer.text == WORDS
            assert answer.done
            note = answer.note
        else:
            assert answer.json["choices"][0]["message"]["content"] == WORDS
            note = answer.json["outlast"]
    assert (note["target"], note["substituted_for"]) == ("b:small", "a:big")
    assert note["passed"] == [{"target": "a:big", "reason": kind}]
    assert answer.headers["X-Outlast-Target"] == "b:small"
    assert answer.headers["X-Outlast-Model"] == "small"
    assert answer.headers["X-Outlast-Substituted"] == f"a:big ({kind})"
    assert [body["model"] for body in b.asked] == ["small"]


@pytest.mark.parametrize(
    ("url", "kind"),
    [("http://127.0.0.1:{free}/v1", "unreachable"), ("http://no-such-host.invalid/v1", "dns")],
)
def test_a_dead_server(two: list[Provider], tmp_path: Path, url: str, kind: str) -> None:
    a, b = two
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    text = routes(a, b).replace(a.url, url.format(free=free))
    with gateway(tmp_path, text) as caller:
        assert caller.chat().json["outlast"]["passed"] == [{"target": "a:big", "reason": kind}]


def test_a_server_without_tls(two: list[Provider], tmp_path: Path) -> None:
    a, b = two

    def talk(listener: socket.socket) -> None:
        with listener.accept()[0] as sock:
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            while sock.recv(1000):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk, args=(listener,))
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        with gateway(tmp_path, routes(a, b).replace(a.url, url)) as caller:
            passed = caller.chat().json["outlast"]["passed"]
        thread.join()
    assert passed == [{"target": "a:big", "reason": "tls"}]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("finish", ["length", "content_filter", "error", None])
def test_ends_that_are_none(
    two: list[Provider], tmp_path: Path, finish: str | None, stream: bool
) -> None:
    a, b = two
    a.words = 0
    a.doing = {"finish": finish, "text": ""}
    with gateway(tmp_path, routes(a, b)) as caller:
        answer = caller.chat(stream=stream)
        note = answer.note if stream else answer.json["outlast"]
    assert note["target"] == "b:small"


def test_the_callers_own_fault_goes_no_further(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    error = {"message": "bad temperature", "type": "invalid_request_error", "param": "temperature"}
    a.doing = {"status": 400, "body": json.dumps({"error": error})}
    with gateway(tmp_path, routes(a, b)) as caller:
        for _ in range(5):
            answer = caller.chat(temperature=99)
            assert answer.status == 400
            assert answer.json["error"]["message"] == "bad temperature"
            assert answer.json["error"]["param"] == "temperature"
    assert len(a.asked) == 5  # the breaker counts no such fault
    assert b.asked == []


def test_what_is_left_alone_is_not_asked_and_is_probed(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    a.doing = {"reset": True}
    with gateway(tmp_path, routes(a, b)) as caller:
        caller.chat()
        before = len(a.asked)
        for _ in range(5):
            assert caller.chat().json["outlast"]["passed"][0]["reason"] == "unreachable"
        assert len(a.asked) == before
        a.doing = {}
        while caller.chat().json["outlast"]["target"] != "a:big":
            pass
        assert any(body.get("max_tokens") == 1 for body in a.asked)


def test_all_are_down(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    a.doing, b.doing = {"status": 500}, {"status": 403}
    with gateway(tmp_path, routes(a, b)) as caller:
        answer = caller.chat()
        assert answer.status == 502
        assert "a:big: server-error, b:small: key-refused" in answer.json["error"]["message"]
        a.doing = b.doing = {"status": 429, "headers": {"Retry-After": "9"}}
        answer = caller.chat()
        assert (answer.status, answer.headers["Retry-After"]) == (429, "9")


def test_no_substitutes(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    a.doing = {"status": 500}
    with gateway(tmp_path, routes(a, b)) as caller:
        assert caller.chat(headers={"X-Outlast-No-Substitute": "1"}).status == 502
        assert caller.chat(stream=True, headers={"X-Outlast-No-Substitute": "1"}).status == 502
    with gateway(tmp_path, routes(a, b, "substitutes = false")) as caller:
        assert caller.chat().status == 502
    with gateway(tmp_path, routes(a, b), substitutes=False) as caller:
        assert caller.chat().status == 502
    assert b.asked == []


class Thrifty(OpenAccounts):
    """Nothing is left for the model `big`."""

    def __init__(self) -> None:
        self.settled: list[Spent] = []
        self.open = 0

    def reserve(self, caller: AnyCaller, route: str, model: str, estimate: Estimate) -> None:
        del caller, route
        assert estimate.prompt_tokens > 0
        if model == "big":
            raise BudgetSpent("the budget of this month is spent", retry_after=60)
        self.open += 1

    def settle(self, reservation: None, spent: Spent) -> None:
        del reservation
        self.open -= 1
        self.settled.append(spent)

    def release(self, reservation: None) -> None:
        del reservation
        self.open -= 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_budget_is_a_fault_too(two: list[Provider], tmp_path: Path, stream: bool) -> None:
    a, b = two
    accounts = Thrifty()
    with gateway(tmp_path, routes(a, b), parts=Parts(accounts=accounts)) as caller:
        answer = caller.chat(stream=stream)
        note = answer.note if stream else answer.json["outlast"]
        assert note["passed"] == [{"target": "a:big", "reason": "budget"}]
        refused = caller.chat(stream=stream, headers={"X-Outlast-No-Substitute": "1"})
        assert (refused.status, refused.headers["Retry-After"]) == (429, "60")
        b.doing = {"reset": True}
        assert caller.chat(stream=stream).status == 503
    assert a.asked == []
    assert accounts.open == 0
    (spent,) = accounts.settled
    assert (spent.target, spent.prompt_tokens, spent.completion_tokens) == ("b:small", 7, 10)


def test_other_paths(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    with gateway(tmp_path, routes(a, b, 'asks = "embeddings"')) as caller:
        answer = caller.post("/v1/embeddings", {"model": "m", "input": "hello"})
        assert answer.json["data"][0]["embedding"] == [0.5]
        assert "/v1/embeddings" in a.heads[-1]
        (listed,) = caller.get("/v1/models").json["data"]
        assert listed["id"] == "m"
        assert caller.get("/v1/models/m").json == listed
        assert caller.get("/v1/models/n").status == 404
        assert caller.get("/healthz").json == {"status": "ok"}
        assert caller.chat("nothing").status == 404
        assert caller.get("/v1/chat/completions").status == 405
        assert caller.post("/v1/chat/completions", {"messages": []}).status == 400
        assert caller.get("/healthz", Host="evil.example").status == 421


def test_fields_that_are_not_known_pass_through(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    with gateway(tmp_path, routes(a, b)) as caller:
        caller.chat(stream=True, min_p=0.1, chat_template_kwargs={"a": [1]})
        (asked,) = a.asked
        assert asked["min_p"] == 0.1
        assert asked["chat_template_kwargs"] == {"a": [1]}
        assert asked["stream_options"] == {"include_usage": True}
        answer = caller.chat(stream=True, stream_options={"include_usage": True})
        assert answer.events[-1]["usage"]["completion_tokens"] == 10
        assert not any("usage" in event for event in caller.chat(stream=True).events)


def test_figures(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    a.doing = {"reset": True}
    with gateway(tmp_path, routes(a, b)) as caller:
        caller.chat()
        caller.chat(stream=True)
        text = caller.get("/metrics").body.decode()
    both = 'route="m",target="b:small"'
    assert f"outlast_gateway_requests_total{{{both}}} 2.0" in text
    assert f'outlast_gateway_tokens_total{{kind="completion",{both}}} 20.0' in text
    assert f"outlast_gateway_substitutions_total{{{both}}} 2.0" in text
    assert f"outlast_gateway_first_token_seconds_count{{{both}}} 2.0" in text
    assert (
        'outlast_gateway_failovers_total{fault="unreachable",route="m",target="a:big"} 1.0' in text
    )
    assert f'outlast_gateway_breaker{{target="a:big",url="{a.url}"}}' in text


def test_the_caller_is_gone(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    a.doing = {"wait": 3}
    with gateway(tmp_path, routes(a, b)) as caller:
        with socket.create_connection(("127.0.0.1", caller.port)) as sock:
            body = json.dumps(
                {"model": "m", "stream": True, "messages": [{"role": "user"}]}
            ).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}"
            sock.sendall(head.replace("Host: a", "Host: localhost").encode() + b"\r\n\r\n" + body)
            assert b"200" in sock.recv(100)
        _until_idle(caller)
        assert "failovers_total{" not in caller.get("/metrics").body.decode()
    assert b.asked == []


def _until_idle(caller: Caller) -> None:
    while "outlast_gateway_under_way 1.0" not in caller.get("/metrics").body.decode():
        pass
