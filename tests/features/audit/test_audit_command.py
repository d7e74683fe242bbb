"""`outlast audit` against real servers: an honest one, and one that serves 4 bits under the name of
the model in 16.
"""

import re
import shutil
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from outlast.core.names import RepoId
from outlast.core.records.audit import AuditRecord, AuditVerdict
from outlast.engines.llama import LlamaOptions
from outlast.features.audit.reference.rounded_gguf import write_changed
from outlast.features.audit.watched import begun, read_state, write_state
from outlast.store.archive import Archive
from tests.campaign import LONG
from tests.cli.call import inside, start
from tests.engines.serving import Serving, call, serving_with
from tests.features.audit.hostile_server import hostile, send
from tests.features.audit.models import as_f16, as_q4_0, small_f16
from tests.features.gateway.gateways import gateway
from tests.realweights import smollm2_gguf

OPTIONS = LlamaOptions(context=1024, threads=1)
FEW = ("--prompts", "8", "--tokens", "8", "--calibration", "10", "--threads", "1")
SEED = ("--seed", "0123456789abcdef")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose archive has the model in F16."""
    home = tmp_path_factory.mktemp("home")
    model = small_f16(home / "model")
    inside("add", model.parent, "--as", "org/name", home=home).ok()
    return home


@pytest.fixture(scope="module")
def honest(home: Path) -> Iterator[Serving]:
    with serving_with(str(home / "model" / "small-F16.gguf"), OPTIONS) as server:
        yield server


@pytest.fixture(scope="module")
def lying(home: Path) -> Iterator[Serving]:
    """Serves 4 bits."""
    cut = as_q4_0(home / "model" / "small-F16.gguf", home / "q4.gguf")
    with serving_with(str(cut), OPTIONS) as server:
        yield server


def audit(
    home: Path, server: Serving, *more: str | Path, code: int | None = None
) -> dict[str, object]:
    done = inside(
        *("audit", server.url + "/v1", "--model", "org/name", "--against", "org/name", "--json"),
        *(*FEW, *SEED, *more),
        home=home,
    )
    assert code in {None, done.code}, done.out + done.err
    found: dict[str, object] = done.result
    return found


def test_an_honest_endpoint_is_consistent(home: Path, honest: Serving) -> None:
    report = home / "honest.json"
    found = audit(home, honest, "--report", report, code=0)
    assert (found["verdict"], found["test"]) == ("consistent", "logprobs")
    assert found["power"]["int4"] >= 0.9  # type: ignore[index]
    assert found["statistic"] <= found["floor"]  # type: ignore[operator]
    again = inside("audit", "replay", report, "--json", home=home).ok()
    assert again.result["same"]
    assert again.result["statistic"] == found["statistic"]


def test_four_bits_under_the_name_of_sixteen_are_caught(home: Path, lying: Serving) -> None:
    report = home / "lying.json"
    found = audit(home, lying, "--report", report, code=10)
    assert found["verdict"] == "divergent"
    assert found["p_value"] <= 0.05  # type: ignore[operator]
    shares: dict[str, float] = found["explanations"]  # type: ignore[assignment]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["own"] < 0.2
    assert {"int8", "fp8", "int4", "temperature 0.9", "none of these"} <= set(shares)
    assert inside("audit", "replay", report, home=home).code == 10


SAMPLED = ("--test", "sampled", "--prompts", "8", "--tokens", "32", "--alpha", "0.01")


def test_sampled_text_alone_tells_fewer_bits(home: Path, tmp_path: Path) -> None:
    """With its report, its page and its explanation. The log evidence is about 17, and 4.6 needed:
    the endpoint samples anew each time.
    """
    [changed] = write_changed([home / "model" / "small-F16.gguf"], tmp_path, "int4")
    report, page = tmp_path / "sampled.json", tmp_path / "sampled.html"
    with serving_with(str(changed), OPTIONS) as server:
        found = audit(home, server, *SAMPLED, "--report", report, "--page", page, code=10)
    shares: dict[str, float] = found["explanations"]  # type: ignore[assignment]
    # At so few tokens a higher temperature sometimes fits as well: it is not asked which leads.
    assert max("own", "int8", "fp8", "int4", key=shares.__getitem__) == "int4"
    again = inside("audit", "replay", report, "--json", home=home)
    assert again.result["same"]
    assert page.read_text().count("<svg") == 4


@pytest.mark.torture
@pytest.mark.skipif(not LONG, reason="loads five models: make torture")
def test_honest_sampled_text_is_none(home: Path, honest: Serving) -> None:
    found = audit(home, honest, *SAMPLED, code=0)
    assert found["statistic"] < found["floor"]  # type: ignore[operator]


def test_a_second_audit_computes_nothing(home: Path, honest: Serving) -> None:
    """At temperature 0 the endpoint answers alike, so nothing is new."""
    first = audit(home, honest, "--test", "greedy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("outlast.features.audit.reference.reference.open_llama_scorer", None)
        assert audit(home, honest, "--test", "greedy") == first


def test_the_verdict_is_a_record_of_the_archive(home: Path, lying: Serving) -> None:
    found = audit(home, lying, code=10)
    with Archive(home / "archive") as archive:
        [manifest] = list(archive.attestations.manifests())
        records = [AuditRecord.from_bytes(one.data) for one in archive.attestations.of(manifest)]
    said = [one for one in records if one is not None and one.endpoint == found["endpoint"]]
    assert AuditVerdict.DIVERGENT in {one.verdict for one in said}
    assert {one.model for one in said} == {"org/name"}
    assert manifest.hex == found["manifest"]


def test_the_gateway_turns_away_from_who_serves_four_bits(
    home: Path, honest: Serving, lying: Serving, tmp_path: Path
) -> None:
    audit(home, lying, code=10)
    audit(home, honest, code=0)
    routes = f"""
[endpoints.lying]
url = "{lying.url}/v1"
[endpoints.honest]
url = "{honest.url}/v1"
[routes.m]
targets = ["lying:org/name", "honest:org/name"]
"""
    with Archive(home / "archive") as archive, gateway(tmp_path, routes, archive=archive) as caller:
        end = time.monotonic() + 60
        while (said := caller.chat(max_tokens=4).json["outlast"])["target"] != "honest:org/name":
            assert time.monotonic() < end, said  # it looks for records once it has started
    assert said["passed"] == [{"target": "lying:org/name", "reason": "divergent"}]


def test_the_commands_of_the_guide(home: Path, honest: Serving, tmp_path: Path) -> None:
    guide = Path(__file__).parents[3] / "docs" / "guide" / "audit.md"
    lines = re.findall(r"^outlast (audit .*)$", guide.read_text(), re.MULTILINE)
    named = [line.split()[1] for line in lines]
    assert named == [
        "https://api.example/v1",
        "replay",
        "watch",
        "contract",
        "speed",
        "speed",
        "compare",
    ]
    for line in lines:
        words = line.replace("https://api.example", honest.url).replace("their-name", "org/name")
        more = (*FEW, *SEED) if "--report" in words else FEW if "--state" in words else ()
        if "other.json" in words:
            shutil.copy(tmp_path / "report.json", tmp_path / "other.json")
        inside(*words.split(), *more, home=home, env={"API_KEY": "a-key"}, cwd=tmp_path).ok()
    assert (tmp_path / "report.json").exists()
    assert (tmp_path / "report.html").exists()
    watched = read_state(tmp_path / "state.json")
    assert watched is not None
    assert (watched.rounds, watched.untestable, watched.alarmed) == (1, 0, False)


def watching(server: Serving, state: Path) -> list[str | Path]:
    named = ("--model", "org/name", "--against", "org/name", "--state", state)
    return ["audit", "watch", server.url + "/v1", *named, *FEW]


def test_four_bits_raise_an_alarm_that_stays(home: Path, lying: Serving, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    again = [*watching(lying, state), "--json"]
    rounds = 1
    while not (done := inside(*again, home=home)).result["alarm"]:
        assert done.code == 0
        assert (rounds := rounds + 1) <= 8, "each audit finds p < 0.01, and two suffice"
    assert done.code == 10
    assert done.result["highest"] >= done.result["needed"]
    unable = inside(*again, "--max-requests", "1", home=home)
    assert unable.code == 10
    assert (unable.result["rounds"], unable.result["untestable"]) == (rounds + 1, 1)
    other = inside(*again, "--alpha", "0.01", home=home)
    assert "0.05" in other.failed("usage")


@pytest.mark.parametrize("more", [("--every", "0"), ("--prompts", "0"), ("--alpha", "2")])
def test_what_cannot_be_watched_leaves_nothing(tmp_path: Path, more: tuple[str, str]) -> None:
    server = ("http://127.0.0.1:9/v1", "--model", "m", "--against", "org/name")
    state = tmp_path / "state.json"
    inside("audit", "watch", *server, "--state", state, *more, home=tmp_path).failed("usage")
    assert not list(tmp_path.iterdir())


def test_a_killed_watch_loses_no_audit_before(home: Path, honest: Serving, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with Archive(home / "archive") as archive:
        manifest = archive.revision(RepoId.parse("org/name")).digest.hex
    before = begun(honest.url + "/v1", "org/name", manifest, 0.05)
    write_state(state, before)
    process = start(*watching(honest, state), "--every", "1h", home=home)
    assert process.stderr is not None
    assert any(b"asked 2 of" in line for line in process.stderr)
    inside(*watching(honest, state), home=home).failed("busy")
    process.kill()
    process.wait()
    assert read_state(state) == before
    assert "no alarm after 1 audit," in inside(*watching(honest, state), home=home).ok().out


def test_too_small_a_budget_is_no_verdict(home: Path, honest: Serving) -> None:
    assert audit(home, honest, "--max-requests", "1", code=12)["verdict"] == "untestable"
    found = audit(home, honest, "--max-requests", "2", code=11)
    assert (found["verdict"], found["requests"]) == ("inconclusive", 2)
    assert audit(home, honest, "--max-tokens", "100", code=12)["tokens"] <= 100  # type: ignore[operator]
    price = ("--price", "1", "2", "--max-cost", "0.0000001")
    assert audit(home, honest, *price, code=12)["requests"] == 0


@pytest.mark.parametrize("test", ["logprobs", "greedy"])
def test_replayed_answers_are_no_verdict(home: Path, honest: Serving, test: str) -> None:
    """Real answers, each of which is given again to the next questions."""
    kept: list[bytes] = []

    def reply(handler: BaseHTTPRequestHandler, body: Any, number: int) -> None:
        if number < 3 or not kept:
            kept[:] = [call(honest, "/v1/chat/completions", body)[1]]
        said = kept[0]
        if number >= 5 and test == "greedy":  # what the model would hardly say
            said = said.replace(b'"content":"', b'"content":"Indeed so. ')
        send(handler, said)

    with hostile(reply) as url:
        server = Serving(0, url.removesuffix("/v1"), honest.engine)
        found = audit(home, server, "--test", test, code=12)
    assert found["reason"] == "the endpoint replays an answer to another question"


@pytest.mark.torture
@pytest.mark.skipif(not LONG, reason="a variant: make torture")
@pytest.mark.parametrize("test", ["logprobs", "greedy", "sampled"])
@pytest.mark.timeout(7200)
def test_a_whole_model(tmp_path: Path, test: str) -> None:
    """All of SmolLM2 in F16, served honestly and as Q4_0."""
    (tmp_path / "model").mkdir()
    whole = as_f16(smollm2_gguf(), tmp_path / "model" / "whole-F16.gguf")
    inside("add", whole.parent, "--as", "org/name", home=tmp_path).ok()
    prompts, length = {"logprobs": (8, 10), "greedy": (8, 32), "sampled": (20, 50)}[test]
    many = (
        "--test",
        test,
        "--prompts",
        str(prompts),
        "--tokens",
        str(length),
        "--calibration",
        "16",
    )
    with serving_with(str(whole), OPTIONS) as server:
        assert audit(tmp_path, server, *many, code=0)["verdict"] == "consistent"
    with serving_with(str(as_q4_0(whole, tmp_path / "q4.gguf")), OPTIONS) as server:
        assert audit(tmp_path, server, *many, code=10)["verdict"] == "divergent"
