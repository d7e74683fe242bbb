"""Blocks that were found by fuzzing, and mutations of them, under AddressSanitizer and
UndefinedBehaviorSanitizer: on every path of the kernels. `make fuzz` looks for more; what it finds
goes into blocks/.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign import LONG

ROOT = Path(__file__).parents[2]
BLOCKS = Path(__file__).parent / "blocks"
MUTATIONS = 4000
_OPTIMIZE = f"-DOUTLAST_OPTIMIZE={'-O1' if LONG else '-O0'}"
"""What is checked is the same; without optimising the kernels are compiled in half of the time."""


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("replay")
    tools = Path(sys.executable).parent
    environ = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    steps: list[list[str | Path]] = [
        ["cmake", "-S", ROOT / "native" / "fuzz", "-B", build, "-G", "Ninja", _OPTIMIZE],
        ["cmake", "--build", build, "--target", "replay"],
    ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, env=environ, check=False)
        assert not done.returncode, done.stdout + done.stderr
    return build / "replay"


@pytest.mark.sanitizers
@pytest.mark.timeout(240)
def test_nothing_is_reported(replay: Path) -> None:
    # Leaks are looked for by ptrace, which not every machine allows; kernels free by destructors.
    environ = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0:max_allocation_size_mb=256"}
    done = subprocess.run(
        [replay, BLOCKS, str(MUTATIONS)],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
        timeout=120,
    )
    assert not done.returncode, done.stderr[-4000:]
    assert done.stdout == f"{len(list(BLOCKS.iterdir()))} inputs, {MUTATIONS} mutations\n"
    assert not done.stderr


def test_every_kind_and_form_has_cases() -> None:
    heads = [path.read_bytes()[:3] for path in BLOCKS.iterdir()]
    assert {head[0] % 17 for head in heads} == set(range(17))
    assert {(head[1] % 5, head[2] & 1) for head in heads} >= {
        (tag, based) for tag in (0, 1, 4) for based in (0, 1)
    }
    assert {head[1] % 5 for head in heads if head[2] & 1} == set(range(5))
