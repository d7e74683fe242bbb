"""A tiny model learns a fact; stopped and begun again, it learns the same, bit for bit."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.campaign import LONG

ROOT = Path(__file__).parents[3]

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(not LONG, reason="`make torture`: six trainings, 25 s of a core"),
]


@pytest.fixture(scope="module")
def found(
    torch_python: Path | None, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    folder = tmp_path_factory.mktemp("training")
    done = subprocess.run(
        [
            torch_python or sys.executable,
            *("-m", "tests.features.tune.in_torch", tiny_models / "True", folder),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT / "src")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_it_learns_what_it_did_not_know(found: Any) -> None:
    before, after = found["loss"]
    # The output layer has no adapter, and its random weights are small: 0.76 is the least there is.
    assert after < 0.8 * before
    assert found["fact"] not in found["before"]
    assert found["after"].startswith(found["fact"])


def test_the_same_training_gives_the_same_bytes(found: Any) -> None:
    first, second, same = found["again"]
    assert first == second
    assert same


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(found: Any) -> None:
    assert found["resumed"] == [found["again"][0], True]


def test_what_is_no_whole_checkpoint_of_it_is_passed_over(found: Any) -> None:
    assert found["checkpoints"][:3] == [True, True, True]


def test_a_full_disk_leaves_the_last_checkpoint(found: Any) -> None:
    assert found["checkpoints"][3:] == [True, True, True]


def test_the_engine_loads_what_peft_does(found: Any) -> None:
    assert found["engine"]


def test_the_configuration_names_the_base_and_no_folder(found: Any) -> None:
    assert found["base"] == "org/base"
    assert found["config"]["base_model_name_or_path"] == "org/base"
    assert found["config"]["revision"] == "ab" * 20
    assert found["config"]["target_modules"] == sorted(found["config"]["target_modules"])


def test_a_merge_is_what_peft_makes_and_changes_nothing_else(found: Any) -> None:
    worst, only_those, header = found["merged"]
    assert worst < 1e-6
    assert only_those
    assert header
