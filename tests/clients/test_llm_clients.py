"""OpenAI's and Anthropic's clients, LangChain and LiteLLM, unmodified, before a stand-in provider:
each speaks its own dialect, whole, streamed, asynchronous, with tools and with schemas.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.store.archive import Archive
from tests.campaign import in_torture
from tests.cli.call import inside
from tests.clients.run import client_env, run_driver
from tests.features.gateway.dialects.door import NOTE, Door
from tests.features.gateway.gateways import gateway
from tests.gguf_cut import small_smollm2
from tests.ports import free_port
from tests.providersim import Fault, ProviderSim, answer_text
from tests.realweights import WeightsUnavailableError

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]
TOKENS = 6
TEXT = answer_text("user: hello\n", TOKENS)
ONCE = answer_text("once ", TOKENS)
USED = ["weather", {"city": "oak", "degrees": 7}]
SHAPED = {"city": "oak", "degrees": 7}


@pytest.fixture(scope="module")
def sim() -> Iterator[ProviderSim]:
    with ProviderSim(tokens=TOKENS, models=("sim-model", "think-sim")) as sim:
        yield sim


def drive(client: str, root: str, home: Path, calls: list[str]) -> list[Any]:
    told = run_driver(client, "drive_llm.py", [root, *calls], client_env("http://unused", home))
    results: list[Any] = told["results"]
    return results


EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.reasoning_text.delta",
    "response.reasoning_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]
SYSTEM = answer_text("system: be kind\nuser: hello\n", TOKENS)
EXPECTED: dict[str, Any] = {
    "chat_whole": [TEXT, "stop", 2 + TOKENS, TEXT],
    "chat_stream": [TEXT, "stop", [], [NOTE]],
    "chat_stream_usage": [TOKENS, [], NOTE],
    "chat_async": TEXT,
    "chat_tools": [USED, USED],
    "chat_parsed": SHAPED,
    "completion": [ONCE, ONCE],
    "embeddings": [8, 8],
    "response_whole": [TEXT, "completed", 2 + TOKENS, TEXT],
    "response_stream": [TEXT, TEXT, "completed", TOKENS],
    "response_kinds": [True, EVENTS],
    "response_async": TEXT,
    "response_tools": [[USED, USED], True],
    "response_custom": ["custom_tool_call", "oak", "oak"],
    "response_parsed": SHAPED,
    "message_whole": [TEXT, "end_turn", TOKENS],
    "message_stream": [SYSTEM, ["thinking", "text"], "let me think", "end_turn", [5, TOKENS + 3]],
    "message_async": TEXT,
    "message_tools": [[USED, USED], "tool_use", True],
    "message_parsed": SHAPED,
    "langchain": [answer_text("user: hello\n", TOKENS), TEXT, USED, SHAPED, 8],
}
FEW = [
    "chat_whole",
    "chat_async",
    "chat_tools",
    "chat_parsed",
    "response_stream",
    "message_stream",
    "message_tools",
]
"""Those that plain tests drive, of OpenAI's and Anthropic's clients."""
WITHOUT_ANTHROPIC = {"chat_whole", "completion", "embeddings", "response_whole", "langchain"}


def in_campaigns(test: Any) -> Any:
    """Marks a test whose clients take minutes; of the others, one with two clients is plain."""
    for mark in in_torture:
        test = mark(test)
    return test


def test_clients_of_the_gateway(sim: ProviderSim, tmp_path: Path) -> None:
    """Through the gateway as it is, with a first target that is dead."""
    text = f"""
[endpoints.dead]
url = "http://127.0.0.1:{free_port()}/v1"
[endpoints.sim]
url = "{sim.url}"
[routes.sim-model]
targets = ["dead:any", "sim:sim-model"]
[routes.think-sim]
targets = ["dead:any", "sim:think-sim"]
"""
    with gateway(tmp_path, text) as caller:
        results = drive("llm", f"http://127.0.0.1:{caller.port}", tmp_path, FEW)
    assert dict(zip(FEW, results, strict=True)) == {n: {"value": EXPECTED[n]} for n in FEW}


@in_campaigns
def test_clients_speak_their_own_dialects(sim: ProviderSim, tmp_path: Path) -> None:
    with Door(sim) as door:
        results = drive("llm", door.root, tmp_path, [*EXPECTED])
    found = dict(zip(EXPECTED, results, strict=True))
    assert found == {name: {"value": value} for name, value in EXPECTED.items()}


@in_campaigns
def test_a_provider_that_speaks_messages(sim: ProviderSim, tmp_path: Path) -> None:
    """What does not ask for logprobs, or for what is no chat, is answered alike."""
    calls = [name for name in EXPECTED if name not in WITHOUT_ANTHROPIC]
    with Door(sim, anthropic=True) as door:
        results = drive("llm", door.root, tmp_path, calls)
    found = dict(zip(calls, results, strict=True))
    assert found == {name: {"value": EXPECTED[name]} for name in calls}


STREAMS = {
    "chat_stream": "APIError",
    "response_stream": "APIError",
    "message_stream": "APIStatusError",
}


@in_campaigns
@pytest.mark.parametrize("fault", ["close", "malformed", "late", "end"])
def test_a_broken_stream_is_an_error_to_every_client(
    sim: ProviderSim, tmp_path: Path, fault: str
) -> None:
    """Never an answer that looks whole."""
    with Door(sim) as door:
        sim.script += [Fault(fault, after=3) for _ in STREAMS]
        results = drive("llm", door.root, tmp_path, [*STREAMS])
    assert [result.get("error") for result in results] == [*STREAMS.values()], results


REFUSED = {
    429: ["RateLimitError", "RateLimitError", "RateLimitError"],
    400: ["BadRequestError", "BadRequestError", "BadRequestError"],
    401: ["AuthenticationError", "AuthenticationError", "AuthenticationError"],
    403: ["PermissionDeniedError", "PermissionDeniedError", "PermissionDeniedError"],
    404: ["NotFoundError", "NotFoundError", "NotFoundError"],
}


@in_campaigns
def test_refusals_are_the_errors_that_clients_know(sim: ProviderSim, tmp_path: Path) -> None:
    calls = ["chat_whole", "response_whole", "message_whole"]
    with Door(sim) as door:
        sim.script += [Fault("status", status=status) for status in REFUSED for _ in calls]
        results = drive("llm", door.root, tmp_path, calls * len(REFUSED))
    assert [result.get("error") for result in results] == [
        name for names in REFUSED.values() for name in names
    ]


@in_campaigns
def test_litellm_as_a_client(sim: ProviderSim, tmp_path: Path) -> None:
    with Door(sim) as door:
        (result,) = drive("litellm", door.root, tmp_path, ["litellm_chat"])
    assert result == {"value": [TEXT, TEXT, TEXT]}


ENGINE = ["chat_stream", "chat_async", "response_whole", "message_whole", "message_async"]


@in_campaigns
def test_clients_of_the_embedded_engine(tmp_path: Path) -> None:
    """Through the gateway: the hosted target is dead, and a model of the archive answers. It says
    nonsense, so what is looked at is that each client takes it for whole answers.
    """
    pytest.importorskip("xllamacpp")
    try:
        weights = small_smollm2(tmp_path)
    except WeightsUnavailableError as error:
        pytest.skip(str(error))
    inside("add", weights, "--as", "me/model", "--form", "plain", home=tmp_path).ok()
    text = f"""
[endpoints.dead]
url = "http://127.0.0.1:{free_port()}/v1"
[archive."me/model"]
threads = 1
context = 256
[routes.sim-model]
targets = ["dead:any", "archive:me/model"]
first-token = 120
"""
    with Archive(tmp_path / "archive") as archive, gateway(tmp_path, text, archive=archive) as door:
        root = f"http://127.0.0.1:{door.port}"
        results = drive("llm", root, tmp_path, ENGINE)
        results += drive("litellm", root, tmp_path, ["litellm_chat"])
    assert not [result for result in results if "error" in result], results
    streamed, late, response, message, told, others = (result["value"] for result in results)
    said, finish, _, (note,) = streamed
    assert said
    assert finish in {"stop", "length"}
    assert note["target"] == "archive:me/model"
    assert note["passed"] == [{"target": "dead:any", "reason": "unreachable"}]
    assert late
    assert response[0]
    assert response[1] in {"completed", "incomplete"}
    assert message[0]
    assert message[1] in {"end_turn", "max_tokens"}
    assert 0 < message[2] <= 99
    assert told
    assert all(others)
