"""How often honest engines are called divergent, and four bits are not: over many audits."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.names import Target
from outlast.engines.llama import LlamaOptions
from outlast.engines.scoring.base import ScoredPosition, Scorer
from outlast.engines.scoring.llama import open_llama_scorer
from outlast.features.audit.asking.prompts import make_prompts
from outlast.features.audit.evidence import LOGPROBS, Verdict, distances_of, judge
from outlast.features.audit.gathering import KEEP, Lengths, calibrate, compared, prompt_tokens
from outlast.features.audit.reference.cache import ScoreCache
from outlast.features.audit.reference.reference import OWN, Reference, ReferenceOptions
from outlast.features.audit.reference.rounded_gguf import write_changed
from outlast.ops.run import prepare
from outlast.store.archive import Archive
from tests.campaign import LONG
from tests.cli.call import inside
from tests.features.audit.models import as_q4_0, small_bf16, small_f16

RUNS, PROMPTS, TOKENS, CALIBRATION = 35, 6, 12, 16
LISTED = 20

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(not LONG, reason="many audits: make torture"),
    pytest.mark.timeout(3600),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    inside("add", small_f16(home / "model").parent, "--as", "org/name", home=home).ok()
    return home


@pytest.fixture(scope="module")
def reference(home: Path) -> Iterator[Reference]:
    with Archive(home / "archive") as archive:
        control, target = Control(lambda _: None), Target.parse("org/name")
        ready = prepare(archive, target, wanted=None, engine=None, recheck=False, control=control)
        cache, options = ScoreCache(home), ReferenceOptions(threads=1)
        with ready, Reference(ready, cache, options, control.cancel) as found:
            yield found


def served(scorer: Scorer, prompt: list[int], *, steps: bool) -> list[ScoredPosition]:
    """What an endpoint tells that samples with this engine: as it goes on, or all at once."""
    made = scorer.generate(prompt, TOKENS, LISTED, Cancel(), temperature=1.0, seed=2)
    made = made[:-1] if len(made) < TOKENS else made
    text = [one.token for one in made]
    return made if steps else scorer.score(prompt, text, LISTED, Cancel())


def verdicts(reference: Reference, scorer: Scorer, *, steps: bool, name: bytes) -> list[Verdict]:
    """Those of as many audits, each of other prompts."""
    calibration = calibrate(
        LOGPROBS, reference, make_prompts(b"calibration", CALIBRATION), Lengths(TOKENS, LISTED)
    )
    prompts = make_prompts(b"audit" + name, RUNS * PROMPTS)
    distances = [_distances(reference, scorer, prompt, steps) for prompt in prompts]
    runs: Sequence[list[list[float]]] = [
        [one for one in distances[start : start + PROMPTS] if one]
        for start in range(0, len(prompts), PROMPTS)
    ]
    return [
        judge(run, calibration["honest"], calibration["alternatives"], 0.05).verdict for run in runs
    ]


def _distances(reference: Reference, scorer: Scorer, prompt: str, steps: bool) -> list[float]:
    asked = prompt_tokens(reference, prompt)
    found = served(scorer, asked, steps=steps)
    own = reference.score(OWN, asked, [one.token for one in found], KEEP)
    rows = [
        compared(a, dict(zip(b.pieces, b.logprobs, strict=True)))
        for a, b in zip(own, found, strict=True)
    ]
    return distances_of(LOGPROBS, rows)


@pytest.mark.parametrize(
    ("precision", "threads", "steps"), [("f16", 1, True), ("bf16", 2, False), ("bf16", 1, True)]
)
def test_honest_engines(
    home: Path, reference: Reference, precision: str, threads: int, steps: bool
) -> None:
    path = home / "model" / "small-F16.gguf"
    if precision == "bf16":
        path = small_bf16(path, home / "bf16.gguf")
    options = LlamaOptions(context=512, threads=threads)
    with open_llama_scorer([str(path)], options, Cancel()) as scorer:
        name = f"{precision} {threads} {steps}".encode()
        found = verdicts(reference, scorer, steps=steps, name=name)
    assert len(found) == RUNS
    assert found.count(Verdict.DIVERGENT) <= RUNS // 20


@pytest.mark.parametrize("kind", ["q4_0", "int4", "fp8"])
def test_fewer_bits(home: Path, reference: Reference, kind: str, tmp_path: Path) -> None:
    path = home / "model" / "small-F16.gguf"
    with ExitStack() as stack:
        if kind == "q4_0":
            changed = as_q4_0(path, tmp_path / "q4.gguf")
        else:
            [changed] = write_changed([path], tmp_path, kind)
        options = LlamaOptions(context=512, threads=1)
        scorer = stack.enter_context(open_llama_scorer([str(changed)], options, Cancel()))
        found = verdicts(reference, scorer, steps=True, name=kind.encode())
    assert found.count(Verdict.DIVERGENT) >= 0.95 * RUNS
