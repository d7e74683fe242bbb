"""Why a model cannot be loaded is the last that its engine logs."""

import os
from pathlib import Path

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError
from outlast.engines.process import Worker
from outlast.engines.tuning import Tuning

ROOT = Path(__file__).parents[2]


def test_a_worker_that_failed_is_not_killed_before_it_has_said_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.fspath(ROOT))
    worker = Worker("tests.engines.late_worker", "test", tuning=Tuning(grace_seconds=0))
    with pytest.raises(EngineError, match="cannot load this"):
        worker.start({"model": "this"}, Cancel(), {})
    assert worker.log[-1:] == ["a tensor is missing"]
