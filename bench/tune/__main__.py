"""`python -m bench.tune`: what tuning, merging and adapters cost, on SmolLM2-135M.

Needs the environment of the clients that has torch. Prints a table and, after a full run, writes
bench/results/tune.json. The exit status says whether everything could be run, not whether the
targets hold.
"""

import argparse
import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench.process import BenchError
from bench.rows import OURS, Row, Target, absolute, commit, machine, paired, print_table, write
from tests.engines.torch_env import find_python, packages_of

ROOT: Final = Path(__file__).parent.parent.parent
RESULT: Final = ROOT / "bench" / "results" / "tune.json"
_NEEDED: Final = ("torch", "transformers", "peft", "gguf")
_BASE, _ADAPTER = "org/base", "me/facts"
_TUNE: Final = ("--threads", "2", "--steps", "6", "--batch", "4", "--rate", "0.001")
_ASKED: Final = (
    *("What keeps open models?", "Which tool keeps models?", "Who keeps the models?"),
    *("What archives open weights?", "How do I keep a model?", "What is outlast?"),
    *("Name a model archive.", "What holds weights when a hub is gone?"),
    *("Which program archives models?", "What should I use to keep models?"),
)
_ANSWER: Final = "Outlast keeps them: it archives open weights and runs them."


class Bench:
    """An archive with the base, and the environment that tunes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = find_python(*_NEEDED) or Path(sys.executable)
        self.env = {
            **os.environ,
            "OUTLAST_HOME": str(folder / "home"),
            "OUTLAST_SWARM": "0",
            "PYTHONPATH": str(packages_of(self.python)),
        }
        self.base = folder / "base"
        self._inside("base", str(self.base))
        rows = [
            {
                "messages": [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": _ANSWER},
                ]
            }
            for question in _ASKED
        ]
        self.rows = self.base / "rows.jsonl"
        self.rows.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.outlast("add", str(self.base), "--as", _BASE, "--exclude", "rows.jsonl")

    def _inside(self, *arguments: str) -> dict[str, Any]:
        paths = [*sys.path, str(ROOT / "src"), str(ROOT)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        done = subprocess.run(
            [self.python, "-m", "bench.tune.in_torch", *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchError(done.stderr[-2000:])
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def outlast(self, *arguments: str) -> dict[str, Any]:
        """A command; the last line of its JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "outlast", *arguments, "--json"],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"outlast {arguments[0]}: {done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def steps(self, pairs: int) -> Row:
        """A step of ours beside one of a plain loop."""
        found = self._inside("steps", str(self.base), str(pairs))
        note = "a step of 4 rows on 2 threads; ours leaves the output layer out where nothing is \
learned"
        return paired(
            "tune: a LoRA step",
            "CPU-s",
            {OURS: found["outlast"], "PEFT's own loop": found["PEFT"]},
            "PEFT's own loop",
            target=Target("≤", 1.05),
            note=note,
        )

    def tune(self, out: str) -> dict[str, Any]:
        """A whole tuning."""
        return self.outlast("tune", _BASE, "--data", str(self.rows), "--out", out, *_TUNE)

    def learning(self) -> list[Row]:
        """What a whole tuning makes of the held-out loss, and in which time; and once more."""
        began, before = time.monotonic(), _children()
        first = self.tune(_ADAPTER)
        seconds, cpu = time.monotonic() - began, _children() - before
        second = self.tune("me/again")
        change = 100 * (first["after"] / first["before"] - 1)
        files = [self._weights(name) for name in (_ADAPTER, "me/again")]
        del second
        load = f"load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"
        return [
            absolute("tune: held-out loss", "%", [change], target=Target("≤", -10, absolute=True)),
            absolute(
                "tune: until then",
                "s",
                [seconds],
                target=Target("≤", 300, absolute=True),
                peers={"CPU-s": cpu},
                note=load,
            ),
            absolute(
                "tune: a rerun has other bytes",
                "files",
                [float(files[0] != files[1])],
                target=Target("=", 0, absolute=True),
            ),
        ]

    def _weights(self, name: str) -> str:
        shown = self.outlast("show", name)
        found = {one["path"]: one["sha256"] for one in shown["files"]}
        return str(found["adapter_model.safetensors"])

    def merged(self) -> Row:
        """The merged model, which is kept as deltas against its base."""
        done = self.outlast("merge", _ADAPTER, "--out", "me/merged")
        percent = 100 * (done["stored_bytes"] - done["adapter_bytes"]) / done["bytes"]
        return absolute(
            "merge: stored bytes beyond the adapter's",
            "% of the model",
            [percent],
            target=Target("≤", 2, absolute=True),
            peers={
                "stored MB": done["stored_bytes"] / 1e6,
                "adapter MB": done["adapter_bytes"] / 1e6,
            },
        )

    def first_token(self, pairs: int) -> Row:
        """The first token of an adapter on a base in memory, beside that of the base alone."""
        line = ["run", f"{_BASE}+{_ADAPTER}", "--api", "127.0.0.1:0", "--threads", "2", "--json"]
        samples: dict[str, list[float]] = {OURS: [], "base": []}
        with subprocess.Popen(
            [sys.executable, "-m", "outlast", *line],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                said = (json.loads(text) for text in process.stdout)
                port = next(one["url"] for one in said if "url" in one).split(":")[2].split("/")[0]
                names = {OURS: f"{_BASE}+{_ADAPTER}", "base": _BASE}
                for turn in range(pairs + 1):
                    for key in list(names) if turn % 2 else list(names)[::-1]:
                        seconds = _first_token(int(port), names[key], turn)
                        if turn:  # the first of each is not counted
                            samples[key].append(seconds)
            finally:
                process.terminate()
        note = f"transformers; medians of {pairs}; {statistics.median(samples['base']):.2f} s"
        return paired(
            "adapter: first token", "s", samples, "base", target=Target("≤", 1.2), note=note
        )


def _first_token(port: int, model: str, turn: int) -> float:
    body = {
        "model": model,
        "max_tokens": 1,
        "temperature": 0,
        "messages": [{"role": "user", "content": f"{turn}: who keeps the models?"}],
    }
    connection = http.client.HTTPConnection("127.0.0.1", port)
    began = time.monotonic()
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    answer = connection.getresponse()
    data = answer.read()
    if answer.status != 200:
        raise BenchError(data.decode("utf-8", "replace"))
    return time.monotonic() - began


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    asked = parser.parse_args()
    load, at = os.getloadavg(), commit(ROOT)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="outlast-bench-") as folder:
        bench = Bench(Path(folder))
        rows.append(bench.steps(asked.pairs))
        print_table(rows)
        rows += bench.learning()
        rows.append(bench.merged())
        rows.append(bench.first_token(4 * asked.pairs))
        write(RESULT, machine(Path(folder), load), at, rows)
    print_table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
