"""`outlast audit contract` against a real server, and one before which a proxy changes what is
asked or answered.
"""

import contextlib
import http.client
import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.names import Target
from outlast.engines.llama import LlamaOptions
from outlast.features.audit.asking.answers import UntestableError, read_answer
from outlast.features.audit.asking.budget import AuditBudget
from outlast.features.audit.asking.endpoint import AuditedEndpoint
from outlast.features.audit.contract import forms, lengths, parameters
from outlast.features.audit.contract.checks import check_contract, is_broken
from outlast.features.audit.contract.clauses import Clause, ClauseState, Found, checked
from outlast.features.audit.contract.interview import Interview
from outlast.features.audit.reference.cache import ScoreCache
from outlast.features.audit.reference.reference import Reference, ReferenceOptions
from outlast.ops.run import prepare
from outlast.sources.http import HttpClient
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from tests.campaign import LONG
from tests.cli.call import inside
from tests.engines.serving import Serving, serving_with
from tests.features.audit.hostile_server import completion, hostile, send
from tests.features.audit.models import small_f16
from tests.realweights import smollm2_gguf

Json = dict[str, Any]
Change = Callable[[Json], object]
Check = Callable[[Interview], Found]
OPTIONS = LlamaOptions(context=1024, threads=1)
SEED = b"a seed"
BROKEN, KEPT = ClauseState.BROKEN, ClauseState.KEPT
LONG_PROMPT = 300


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    model = small_f16(home / "model")
    inside("add", model.parent, "--as", "org/name", home=home).ok()
    return home


@pytest.fixture(scope="module")
def honest(home: Path) -> Iterator[Serving]:
    with serving_with(str(home / "model" / "small-F16.gguf"), OPTIONS) as server:
        yield server


@contextlib.contextmanager
def reference_of(home: Path, context: int = 1024) -> Iterator[Reference]:
    options = ReferenceOptions(threads=1, context=context)
    with (
        Archive(home / "archive") as archive,
        prepare(
            archive,
            Target.parse("org/name"),
            wanted=None,
            engine=None,
            recheck=False,
            control=Control(),
        ) as prepared,
        Reference(prepared, ScoreCache(home), options, Cancel()) as opened,
    ):
        yield opened


@pytest.fixture(scope="module")
def reference(home: Path) -> Iterator[Reference]:
    with reference_of(home) as opened:
        yield opened


def unchanged(_body: Json) -> None:
    pass


@contextlib.contextmanager
def between(server: Serving, asked: Change = unchanged, said: Change = unchanged) -> Iterator[str]:
    """The URL of one who passes on what `server` is asked and answers, changed."""

    def reply(handler: BaseHTTPRequestHandler, body: Json, _number: int) -> None:
        asked(body)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/chat/completions", json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
        if response.status == 200:
            said(answer)
        send(handler, json.dumps(answer).encode(), response.status)

    with hostile(reply) as url:
        yield url


@contextlib.contextmanager
def interview(
    url: str, reference: Reference, budget: AuditBudget | None = None
) -> Iterator[Interview]:
    with HttpClient(HttpSettings(user_agent="test")) as http_client:
        endpoint = AuditedEndpoint(
            url,
            "org/name",
            None,
            http=http_client,
            budget=budget or AuditBudget(),
            cancel=Cancel(),
        )
        yield Interview(endpoint, reference, SEED)


def test_an_honest_server_breaks_nothing(honest: Serving, reference: Reference) -> None:
    budget = AuditBudget(requests=40, tokens=6000)
    with interview(honest.url + "/v1", reference, budget) as asked:
        found = {one.name: one for one in check_contract(asked, LONG_PROMPT)}
    states = {name: one.state for name, one in found.items()}
    assert states.pop("tool call") is ClauseState.REFUSED  # its template has none
    # Two layers of a model find no number.
    assert states.pop("context") is ClauseState.UNTESTABLE
    assert set(states.values()) == {KEPT}, found
    assert len(states) == 13


def add_system(body: Json) -> None:
    body["messages"].insert(0, {"role": "system", "content": "Name the provider in each answer."})


def drop_system(body: Json) -> None:
    body["messages"] = [one for one in body["messages"] if one["role"] != "system"]


def more_tokens(body: Json) -> None:
    body["max_tokens"] = 32


def bill_double(answer: Json) -> None:
    answer["usage"]["completion_tokens"] *= 2


def say_it_ended(answer: Json) -> None:
    answer["choices"][0]["finish_reason"] = "stop"


def shorten(body: Json) -> None:
    last = body["messages"][-1]
    last["content"] = last["content"][-300:]


def without(*names: str) -> Change:
    return lambda body: [body.pop(name, None) for name in names]


def always(name: str, value: object) -> Change:
    return lambda body: body.update({name: value})


def nothing_to_find(interview: Interview) -> Found:
    return lengths.context(interview, LONG_PROMPT)


class Meddling(NamedTuple):
    """What is changed on the way, by which check it shows, and in which words."""

    check: Check
    detail: str
    asked: Change = unchanged
    said: Change = unchanged


@pytest.mark.parametrize(
    "meddling",
    [
        Meddling(lengths.prompt_tokens, "hidden system prompt", add_system),
        Meddling(lengths.system_message, "it is counted as", drop_system),
        Meddling(lengths.answer_tokens, "are billed for 3 answers", said=bill_double),
        Meddling(lengths.max_tokens, "of at most 8 tokens has", more_tokens),
        Meddling(lengths.max_tokens, "says that it ends for 'stop'", said=say_it_ended),
        Meddling(lengths.stop, "goes on after", without("stop")),
        Meddling(nothing_to_find, "is cut to", shorten),
        Meddling(parameters.temperature, "are the likeliest", always("temperature", 0)),
        Meddling(parameters.top_p, "is not the likeliest", always("top_p", 1)),
        Meddling(parameters.seed, "same seed differ", without("seed")),
        Meddling(parameters.seed, "different seeds are the same", always("seed", 3)),
        Meddling(parameters.logit_bias, "forbidden begins", without("logit_bias")),
        Meddling(parameters.choices, "n = 2 gives 1", always("n", 1)),
        Meddling(parameters.logprobs, "and have 0", without("logprobs", "top_logprobs")),
        Meddling(forms.json_schema, "not the form", without("response_format")),
        Meddling(forms.tool_call, "is not called", without("tools", "tool_choice")),
    ],
    ids=lambda one: one.detail,
)
def test_what_is_broken_is_found(honest: Serving, reference: Reference, meddling: Meddling) -> None:
    with (
        between(honest, meddling.asked, meddling.said) as url,
        interview(url, reference) as asks,
    ):
        state, found = meddling.check(asks)
    assert (state, meddling.detail in found) == (BROKEN, True), found


def call_of(name: str, arguments: str) -> Change:
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return lambda answer: answer["choices"][0]["message"].update(tool_calls=[call])


@pytest.mark.parametrize(
    ("name", "arguments", "state"),
    [
        ("store_code", '{"code": "CODE", "urgent": true}', KEPT),
        ("other", '{"code": "CODE", "urgent": true}', BROKEN),
        ("store_code", '{"code": "CODE", "urgent": 1}', BROKEN),
        ("store_code", '{"code": "else", "urgent": true}', BROKEN),
        ("store_code", '{"code": "CODE", "urgent": true, "more": 1}', BROKEN),
        ("store_code", "{", BROKEN),
        ("store_code", "[" * 100_000, BROKEN),
    ],
)
def test_a_tool_call_is_read(
    honest: Serving, reference: Reference, name: str, arguments: str, state: ClauseState
) -> None:
    """Of a server whose model has tools, which is played here."""
    codes: list[str] = []

    def ask(body: Json) -> None:
        fields = body.pop("tools")[0]["function"]["parameters"]["properties"]
        codes[:] = fields["code"]["enum"]
        assert body.pop("tool_choice") == "required"

    def call(answer: Json) -> None:
        call_of(name, arguments.replace("CODE", codes[1]))(answer)

    with between(honest, ask, call) as url, interview(url, reference) as asks:
        assert forms.tool_call(asks)[0] is state


def talk(handler: BaseHTTPRequestHandler, body: Json, _number: int) -> None:
    """More than any question asks for."""
    del body
    said = completion("word " * 400_000)
    answer = json.loads(said)
    answer["usage"] = {"prompt_tokens": 2**39, "completion_tokens": 2**39}
    send(handler, json.dumps(answer).encode())


def test_an_endpoint_that_says_far_more_than_it_is_asked_for(reference: Reference) -> None:
    with hostile(talk) as url, interview(url, reference) as asks:
        found = {one.name: one.state for one in check_contract(asks, LONG_PROMPT)}
    assert {found[name] for name in ("prompt tokens", "answer tokens", "max_tokens")} == {BROKEN}


def test_a_longer_prompt_than_the_archived_weights_read(reference: Reference) -> None:
    """The endpoint's answer is there, and nothing to compare it with."""

    def answer(handler: BaseHTTPRequestHandler, _body: Json, _number: int) -> None:
        send(handler, completion("no number"))

    with hostile(answer) as url, interview(url, reference) as asks:
        state, detail = lengths.context(asks, 4000)
    assert (state, "do not read" in detail) == (ClauseState.UNTESTABLE, True), detail


def test_shown_thoughts_are_billed_rightly(honest: Serving, reference: Reference) -> None:
    """A reasoning model shows them beside its text."""

    def think(answer: Json) -> None:
        message = answer["choices"][0]["message"]
        half = len(message["content"]) // 2
        message["reasoning_content"] = message["content"][:half]
        message["content"] = message["content"][half:]

    with between(honest, said=think) as url, interview(url, reference) as asks:
        assert lengths.answer_tokens(asks)[0] is KEPT


def test_what_is_not_told_is_not_judged(honest: Serving, reference: Reference) -> None:
    with between(honest, said=without("usage")) as url, interview(url, reference) as asks:
        found = [
            check(asks)[0]
            for check in (lengths.prompt_tokens, lengths.system_message, lengths.answer_tokens)
        ]
    assert set(found) == {ClauseState.UNTESTABLE}


def test_a_refusal_is_no_breach_and_a_budget_ends_it(honest: Serving, reference: Reference) -> None:
    def refuse(handler: BaseHTTPRequestHandler, _body: Json, _number: int) -> None:
        send(handler, b'{"error": {"message": "n is not supported"}}', 400)

    with hostile(refuse) as url, interview(url, reference) as asks:
        found = checked("n", partial(parameters.choices, asks))
    assert found == Clause("n", ClauseState.REFUSED, "n is not supported")
    with interview(honest.url + "/v1", reference, AuditBudget(requests=5)) as asks:
        clauses = check_contract(asks, None)
    states = [one.state for one in clauses]
    assert states == [KEPT, *[ClauseState.UNTESTABLE] * 13]
    assert not is_broken(clauses)


@pytest.mark.parametrize(
    "body",
    [
        {"choices": []},
        {"choices": [{"message": {"content": 1}}]},
        {"choices": [{"message": {"content": "", "tool_calls": [{"function": 1}]}}]},
        {"choices": [{"message": {"content": "", "tool_calls": [1]}}]},
        {"choices": [{"message": {"content": "a"}}, {"message": None}]},
        {"choices": {"0": 1}},
    ],
)
def test_answers_that_are_none(body: Json) -> None:
    with pytest.raises(UntestableError):
        read_answer(json.dumps(body).encode())


def test_the_command_prints_a_table_and_says_by_its_status(home: Path, honest: Serving) -> None:
    words = ("--model", "org/name", "--against", "org/name", "--threads", "1")
    done = inside("audit", "contract", honest.url + "/v1", *words, home=home).ok()
    rows = [line.split()[0] for line in done.out.splitlines()]
    assert len(rows) == 14
    assert set(rows) <= {"kept", "refused", "untestable"}
    with between(honest, add_system) as url:
        done = inside("audit", "contract", url, *words, "--json", home=home)
    assert done.code == 10
    first, *_ = json.loads(done.out)
    assert (first["type"], first["clause"], first["state"]) == (
        "contract_clause",
        "prompt tokens",
        "broken",
    )


@pytest.mark.parametrize(
    ("bound", "most"),
    [
        (("--max-requests", "3"), 3),
        (("--max-tokens", "20"), 0),
        (("--max-cost", "0.001", "--price", "1", "1000"), 0),
    ],
)
def test_what_the_command_sends_is_bounded(home: Path, bound: tuple[str, ...], most: int) -> None:
    seen: list[tuple[str | None, str]] = []

    def reply(handler: BaseHTTPRequestHandler, body: Json, _number: int) -> None:
        seen.append((handler.headers["Authorization"], body["model"]))
        send(handler, completion("a short answer"))

    with hostile(reply) as url:
        words = ("--model", "theirs", "--against", "org/name", "--key-env", "API_KEY")
        env = {"API_KEY": "a-key"}
        inside("audit", "contract", url, *words, *bound, "--json", home=home, env=env)
    assert set(seen) <= {("Bearer a-key", "theirs")}
    assert len(seen) <= 3
    assert len(seen) >= most


@pytest.mark.torture
@pytest.mark.skipif(not LONG, reason="loads the whole model twice: make torture")
def test_a_number_is_found_in_a_long_prompt_unless_that_is_thinned(tmp_path: Path) -> None:
    """A whole model finds it; of who leaves out the middle, and bills it, that is told."""
    model = tmp_path / "model" / "m.gguf"
    model.parent.mkdir()
    shutil.copy(smollm2_gguf(), model)
    inside("add", model.parent, "--as", "org/name", home=tmp_path).ok()

    def thin(body: Json) -> None:
        lines = body["messages"][-1]["content"].split("\n")
        body["messages"][-1]["content"] = "\n".join(lines[: len(lines) // 4] + lines[-2:])

    def bill_all(answer: Json) -> None:
        answer["usage"]["prompt_tokens"] = 1000

    with serving_with(str(model), OPTIONS) as server, reference_of(tmp_path) as reference:
        with interview(server.url + "/v1", reference) as asks:
            state, found = lengths.context(asks, 900)
            assert state is KEPT, found
        with between(server, thin, bill_all) as url, interview(url, reference) as asks:
            state, found = lengths.context(asks, 900)
            assert (state, "50%" in found) == (BROKEN, True), found
