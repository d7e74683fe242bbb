"""`python -m bench.audit`: how often audits of SmolLM2-135M are right, and what they cost.

Endpoints are engines that answer questions which nothing was chosen by. Rates are those of audits
drawn from their answers. Needs the environment of the clients that has torch. Prints a table and,
after a full run, writes bench/results/audit.json and the plots of docs/audit.md.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.audit.endpoints import CHANGED, HONEST, NAME, Rig
from bench.audit.evidence import TOKENS, Rows, audited, honest
from bench.audit.rates import ALPHA, Drawn, Size, draw
from bench.process import BenchError
from bench.rows import Row, Target, absolute, commit, machine, print_table, write
from bench.sim.svg import Line, chart
from outlast.engines.llama import LlamaOptions
from outlast.features.audit.asking.prompts import make_prompts
from outlast.features.audit.evidence import GREEDY, LOGPROBS
from tests.engines.serving import serving_with

ROOT: Final = Path(__file__).parent.parent.parent
RESULT: Final = ROOT / "bench" / "results" / "audit.json"
PLOTS: Final = ROOT / "docs" / "audit"
_QUESTIONS, _RUNS = 60, 500
_NO_ALARM: Final = Target("≤", ALPHA, absolute=True)
_FOUND: Final = Target("≥", 0.95, absolute=True)
_SIZES: Final[Mapping[str, Sequence[Size]]] = {
    LOGPROBS: (Size(2, 10), Size(8, 12)),
    GREEDY: (Size(13, 16), Size(20, 16)),
}
_TARGETS: Final = {(LOGPROBS, "int8"), (GREEDY, "fp8")}
"""What the smaller audits of a test have to find."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=_QUESTIONS, help="to each endpoint")
    parser.add_argument("--runs", type=int, default=_RUNS, help="audits that are drawn")
    options = parser.parse_args()
    load, at = os.getloadavg(), commit(ROOT)
    rows: list[Row] = []
    plots: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="outlast-bench-") as name:
        rig = Rig(Path(name))
        rig.prepare()
        rows += cost(rig)
        answers = {test: measure(rig, test, options.questions) for test in _SIZES}
        for test, (known, found) in answers.items():
            drawn = rates(test, known, found, options.runs)
            rows += [row(test, *key, one) for key, one in drawn.items()]
            plots |= drawings(test, drawn)
        about = machine(rig.folder, load)
    print_table(rows)
    if (options.questions, options.runs) == (_QUESTIONS, _RUNS):
        write(RESULT, about, at, rows)
        PLOTS.mkdir(exist_ok=True)
        for file, page in plots.items():
            (PLOTS / file).write_text(page)
    return 0


def measure(rig: Rig, test: str, count: int) -> tuple[Rows, dict[str, Rows]]:
    """The honest distances of a calibration, and those of each endpoint, to other questions."""
    questions = make_prompts(b"held out " + test.encode(), 2 * count)
    with rig.reference() as reference:
        known = honest(test, reference, questions[:count])
        found: dict[str, Rows] = {}
        for name in (*HONEST, *CHANGED):
            print(f"{test}: {name} …", file=sys.stderr)
            with rig.endpoint(name) as scorer:
                found[name] = audited(test, reference, scorer, questions[count:])
    return known, found


def rates(
    test: str, known: Rows, found: Mapping[str, Rows], runs: int
) -> dict[tuple[str, Size], Drawn]:
    """By endpoint, and size of an audit."""
    return {
        (name, size): draw(answers, known, size, runs)
        for size in _SIZES[test]
        for name, answers in found.items()
    }


def row(test: str, name: str, size: Size, drawn: Drawn) -> Row:
    target = _NO_ALARM if name in HONEST else None
    if (test, name) in _TARGETS and size == _SIZES[test][0]:
        target = _FOUND
    what = f"{test}, {size}: {name}"
    return absolute(what, "share divergent", [drawn.alarms], target=target)


def drawings(test: str, drawn: Mapping[tuple[str, Size], Drawn]) -> dict[str, str]:
    """The calibration of a test: how many p-values of honest endpoints are at most p."""
    size = _SIZES[test][-1]
    lines = [Line("as promised at most", [(0.0, 0.0), (1.0, 1.0)], dashed=True)]
    for name in HONEST:
        values = sorted(drawn[name, size].p_values)
        steps = [((n + 1) / len(values), value) for n, value in enumerate(values)]
        lines.append(Line(name, [(0.0, 0.0), *((value, share) for share, value in steps)]))
    title = f"Honest endpoints, {test}, {size}"
    return {f"{test}.svg": chart(title, "p-value", "share of audits at most there", lines)}


def cost(rig: Rig) -> list[Row]:
    """CPU seconds of an audit by log probabilities: the first of a model, and one more."""
    options = LlamaOptions(context=2048, threads=1)
    spent = []
    with serving_with(str(rig.model), options) as server:
        for _ in range(2):
            before = _children()
            command = [sys.executable, "-m", "outlast", "audit", f"{server.url}/v1", "--quiet"]
            command += [
                "--threads",
                "1",
                "--model",
                "org/name",
                "--against",
                NAME,
                "--test",
                LOGPROBS,
            ]
            env = {**os.environ, "OUTLAST_HOME": str(rig.folder / "home")}
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            if done.returncode:
                raise BenchError(f"an honest endpoint: {done.stdout}{done.stderr[-500:]}")
            spent.append(_children() - before)
    bounds = (Target("≤", 60, absolute=True), Target("≤", 5, absolute=True))
    return [
        absolute(f"an audit by {LOGPROBS}: {what}", "CPU-s", [seconds], target=bound)
        for what, seconds, bound in zip(
            ("first of a model", "one more"), spent, bounds, strict=True
        )
    ]


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    assert set(TOKENS) == set(_SIZES)
    sys.exit(main())
