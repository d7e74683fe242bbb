"""Models of the archive as targets: a real engine goes on where a provider's stream broke."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outlast.core.names import RepoId
from outlast.core.policy import Action, Gate, Subject, Verdict
from outlast.core.records.lineage import LineageRecord, MadeFrom, Making
from outlast.store.archive import Archive
from tests.cli.call import inside
from tests.engines.gguf_files import write_lora
from tests.features.gateway.gateways import Answer, Caller, gateway
from tests.features.gateway.upstream import Provider, providers
from tests.gguf_cut import small_smollm2
from tests.realweights import WeightsUnavailableError

pytest.importorskip("xllamacpp")


@pytest.fixture(name="home", scope="module")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of an archive with a model that runs."""
    folder = tmp_path_factory.mktemp("archive")
    try:
        weights = small_smollm2(folder)
    except WeightsUnavailableError as error:
        pytest.skip(str(error))
    inside("add", str(weights), "--as", "me/model", "--form", "plain", home=folder).ok()
    return folder / "archive"


@pytest.fixture(name="cloud")
def _cloud() -> Iterator[Provider]:
    with providers("cloud") as (made,):
        yield made


@pytest.fixture(name="engines")
def _started() -> Callable[[], list[int]]:
    """The engines that this test started: a test of another room may have one that goes on."""
    before = set(_engines())
    return lambda: [pid for pid in _engines() if pid not in before]


def routes(cloud: Provider, more: str = "") -> str:
    return f"""
[endpoints.cloud]
url = "{cloud.url}"
hosted = true
[archive."me/model"]
threads = 1
context = 512
{more}
[routes.m]
targets = ["cloud:big", "archive:me/model"]
first-token = 120
"""


def _stream(caller: Caller, cloud: Provider) -> str:
    """The text of a stream that the provider cuts after four words."""
    cloud.doing = {"cut": 4, "wait": 4}
    answer = caller.chat_until("w3 ", cloud.hold.set, max_tokens=12, temperature=0)
    assert answer.done, answer.events[-1]
    note = answer.note
    assert note["target"] == "archive:me/model"
    assert re.fullmatch("sha256:[0-9a-f]{64}", note["manifest"])
    assert "xllamacpp" in note["engine"]
    assert note["continued"] == [{"from": "cloud:big", "reason": "cut", "characters": 12}]
    return answer.text


def test_the_engine_goes_on(
    cloud: Provider, home: Path, tmp_path: Path, engines: Callable[[], list[int]]
) -> None:
    with Archive(home) as archive, gateway(tmp_path, routes(cloud), archive=archive) as caller:
        text = _stream(caller, cloud)
        assert text.startswith("w0 w1 w2 w3 ")
        assert len(text) > len("w0 w1 w2 w3 ")
        # The provider dies; whole answers, tools and completions come from the engine.
        cloud.doing = {"reset": True}
        answer = caller.chat(max_tokens=4, temperature=0)
        assert answer.headers["X-Outlast-Manifest"] == answer.json["outlast"]["manifest"]
        assert answer.json["usage"]["completion_tokens"] == 4
        prompt = {"model": "m", "prompt": "a", "max_tokens": 3}
        assert caller.post("/v1/completions", prompt).json["outlast"]["target"] != "cloud:big"
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        refused = caller.chat(tools=[tool])
        assert refused.status == 400
        assert "template has no tools" in refused.json["error"]["message"]
        (engine,) = engines()
        os.kill(engine, signal.SIGKILL)
        # An engine that died is started anew, by the request that needs it.
        while (answer := caller.chat(max_tokens=2)).status != 200:
            assert answer.status in {502, 503}
        assert engines() != [engine]
    assert engines() == []


def test_rules_forbid_it(cloud: Provider, home: Path, tmp_path: Path) -> None:
    class NoRun(Gate):
        def judge(self, action: Action, subject: Subject) -> Verdict:
            del subject
            return Verdict(allowed=action is not Action.RUN, reason="not here", rule="none-runs")

    cloud.doing = {"status": 500}
    with (
        Archive(home, gate=NoRun()) as archive,
        gateway(tmp_path, routes(cloud), archive=archive) as caller,
    ):
        answer = caller.chat()
        assert answer.status == 502
        assert "archive:me/model: refused-by-rules" in answer.json["error"]["message"]


def test_what_is_not_archived(cloud: Provider, tmp_path: Path) -> None:
    cloud.doing = {"status": 500}
    with gateway(tmp_path, routes(cloud)) as caller:
        answer = caller.chat()
        assert "archive:me/model: engine" in answer.json["error"]["message"]


def test_a_warm_one_is_there_before_it_is_asked(
    cloud: Provider, home: Path, tmp_path: Path, engines: Callable[[], list[int]]
) -> None:
    text = routes(cloud, "warm = true")
    with Archive(home) as archive, gateway(tmp_path, text, archive=archive) as caller:
        while not engines():
            assert caller.get("/healthz").json == {"status": "ok"}
    assert engines() == []


def _engines() -> list[int]:
    """The engines of this process: those that a worker's code runs."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
            with open(f"/proc/{name}/cmdline", "rb") as file:
                is_engine = b"llama_worker" in file.read()
        except (OSError, IndexError, ValueError):
            continue
        if is_engine and parent == os.getpid():
            found.append(int(name))
    return found


def test_a_forced_call_is_passed_as_one(home: Path, cloud: Provider, tmp_path: Path) -> None:
    """Where the template has no tools the request is refused; see `server.model` for calls."""
    cloud.doing = {"status": 500}
    tool = {"type": "function", "function": {"name": "f"}}
    with Archive(home) as archive, gateway(tmp_path, routes(cloud), archive=archive) as caller:
        answer = caller.chat(tools=[tool], tool_choice="required", stream=True)
        assert answer.status == 400
        assert json.loads(answer.body)["error"]["param"] in {"tools", None}


def test_adapters_share_the_engine_of_their_base(
    home: Path, cloud: Provider, tmp_path: Path, engines: Callable[[], list[int]]
) -> None:
    for seed, name in enumerate(("me/facts", "me/other")):
        made = tmp_path / name
        made.mkdir(parents=True)
        write_lora(made / "lora.gguf", "blk.0.attn_v.weight", (576, 192), seed=seed)
        with Archive(home) as archive:
            base = archive.revision(RepoId.parse("me/model"))
        record = LineageRecord(Making.CONVERSION, (MadeFrom(base.repo, base.digest, base.commit),))
        if name == "me/facts":
            (made / "lineage.json").write_bytes(record.to_bytes())
        inside("add", str(made), "--as", name, home=home.parent).ok()
    more = """
[routes.facts]
targets = ["archive:me/model+me/facts"]
[routes."me/model"]
targets = ["cloud:big", "archive:me/model"]
adapters = ["me/facts", "me/other"]
[routes.alone]
targets = ["archive:me/model"]
"""
    text = routes(cloud) + more
    with Archive(home) as archive, gateway(tmp_path, text, archive=archive) as caller:

        def says(route: str) -> Answer:
            return caller.chat(model=route, max_tokens=4, temperature=0)

        alone, facts = says("alone"), says("me/model+me/facts")
        assert len(engines()) == 1
        assert alone.status == facts.status == 200
        word = [one.json["choices"][0]["message"]["content"] for one in (alone, facts)]
        assert word[0] != word[1]
        assert facts.json["outlast"]["target"] == "archive:me/model+me/facts"
        assert re.fullmatch("sha256:[0-9a-f]{64}", facts.headers["X-Outlast-Adapter"])
        assert "X-Outlast-Adapter" not in alone.headers
        assert says("facts").json["choices"][0]["message"]["content"] == word[1]
        # It does not say what it was made for: that is refused, and the others answer.
        refused = says("me/model+me/other")
        assert refused.status == 502
        assert "archive:me/model+me/other: engine" in refused.json["error"]["message"]
        assert says("alone").status == 200
        assert says("me/model+me/another").status == 404
        assert len(engines()) == 1
        assert cloud.asked == []  # what has no adapter never answers for one
