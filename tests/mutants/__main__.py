"""`python -m tests.mutants [NAME…]`: changes the code in one place at a time, in a copy of the
tree, and runs the tests that should notice. Prints what became of each mutant, and ends with 1
where one survived, or where its tests could not be run. First the tests run on the code as it is:
they must pass there.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.mutants.table import MUTANTS, Mutant

ROOT: Final = Path(__file__).parents[2]
_SECONDS: Final = 600
_FAILED: Final = 1
"""What pytest ends with where a test failed; other numbers mean that none was run."""
_FIRST: Final = """\
import sys
sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "ScikitBuildRedirectingFinder"]
"""
"""Python runs it when it starts: modules come from the copy, not from the editable installation."""


def copy_tree(folder: Path) -> None:
    """A copy of what tests need, with the kernels that are installed."""
    skip = shutil.ignore_patterns("__pycache__", "build", ".*")
    for name in ("src", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "sitecustomize.py").write_text(_FIRST)
    spec = find_spec("outlast.codec._kernels")
    assert spec is not None
    assert spec.origin is not None
    kernels = Path(spec.origin)
    (folder / "src" / "outlast" / "codec" / kernels.name).symlink_to(kernels)


def notices(folder: Path, tests: str) -> tuple[int, str]:
    """How pytest ends in the copy, and what it said at last."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    paths = os.pathsep.join([str(folder), str(folder / "src")])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider"),
            *shlex.split(tests),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr)[-2000:]


def judge(mutant: Mutant) -> str:
    """``killed``, ``survived``, ``equivalent`` (it survived, and the table says why it must), or
    what went wrong.
    """
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        copy_tree(folder)
        path, changed = mutant.place(folder / "src" / "outlast")
        path.write_text(changed, encoding="utf-8")
        try:
            code, said = notices(folder, mutant.tests)
        except subprocess.TimeoutExpired:
            return "killed (its tests did not end)"
    if code == _FAILED:
        return "killed" if not mutant.survives else "killed, though the table says that it survives"
    if code:
        return f"not run: pytest ended with {code}\n{said}"
    return "equivalent" if mutant.survives else "survived"


def passes_unchanged(tests: str) -> bool:
    """Whether tests pass in a copy without any change: else they would kill whatever mutant."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        copy_tree(Path(name))
        return notices(Path(name), tests)[0] == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2)
    wanted = parser.parse_args()
    known = {mutant.name: mutant for mutant in MUTANTS}
    chosen = [known[name] for name in wanted.names] or list(MUTANTS)
    for mutant in chosen:
        mutant.place(ROOT / "src" / "outlast")
    found: Counter[str] = Counter()
    with ThreadPoolExecutor(wanted.jobs) as pool:
        tests = list(dict.fromkeys(mutant.tests for mutant in chosen))
        passed = zip(tests, pool.map(passes_unchanged, tests), strict=True)
        if wrong := [one for one, passes in passed if not passes]:
            print("these fail on the code as it is:", *wrong, sep="\n    ")
            return 1
        for mutant, end in zip(chosen, pool.map(judge, chosen), strict=True):
            found[end.split()[0]] += 1
            print(f"{mutant.name}: {end}", flush=True)
            if end == "survived":
                print(f"    {mutant.promise}", flush=True)
    print(", ".join(f"{count} {end}" for end, count in found.most_common()))
    return int(found["killed"] + found["equivalent"] < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
