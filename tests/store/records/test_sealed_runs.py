"""The log of sealed runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.features.trust.dossier.checks import sealed_run_findings
from outlast.ops.doctor import Health
from outlast.store.records.logs.sealed_runs import NAME, SealedRun, SealedRuns

RUN = SealedRun(
    RepoId.parse("org/name"),
    GitOid("a" * 40),
    Digest("b" * 64),
    "engine 1",
    ("seccomp filter",),
    3,
    None,
    "2026-11-30T00:00:00+00:00",
    "2026-11-30T00:01:00+00:00",
)


def test_runs_of_a_manifest_come_back(tmp_path: Path) -> None:
    log = SealedRuns(tmp_path)
    other = replace(RUN, manifest=Digest("c" * 64), packets=0)
    for run in (RUN, other, RUN):
        log.append(run)
    assert list(log.of(RUN.manifest)) == [RUN, RUN]
    assert list(log.of(other.manifest)) == [other]
    assert log.damaged() == []


@pytest.mark.parametrize("old", [b'"requests": 3', b"org/name"])
def test_a_line_that_was_changed_counts_for_nothing(tmp_path: Path, old: bytes) -> None:
    log = SealedRuns(tmp_path)
    log.append(RUN)
    log.append(RUN)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes().replace(old, old[:-1] + b"x", 1))
    assert list(log.of(RUN.manifest)) == [RUN]
    assert log.damaged() == [1]
    [finding] = sealed_run_findings(tmp_path)
    assert finding.health is Health.WRONG


def test_a_line_that_was_torn_does_not_take_the_next_one_along(tmp_path: Path) -> None:
    log = SealedRuns(tmp_path)
    log.append(RUN)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:40])
    log.append(RUN)
    assert list(log.of(RUN.manifest)) == [RUN]
    assert log.damaged() == [1]


@pytest.mark.parametrize("change", [{"requests": "x"}, {"manifest": "y"}, {"by": 7}, {"repo": "/"}])
def test_what_is_no_run_is_none(change: dict[str, object]) -> None:
    assert SealedRun.from_json(RUN.to_json()) == RUN
    assert SealedRun.from_json({**RUN.to_json(), **change}) is None
