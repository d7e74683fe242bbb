"""`outlast tune`, from the rows to the archive, with the worker that users have."""

from pathlib import Path

from outlast.core.digest import Digest
from outlast.core.names import RepoId
from outlast.core.records.lineage import LineageRecord, Making, WeightsForm
from outlast.store.archive import Archive
from outlast.store.records.lineage import lineage_of
from tests.cli.call import inside
from tests.features.tune.conftest import NAME

FAST = ("--rank", "4", "--threads", "1", "--batch", "3", "--epochs", "8", "--rate", "0.02")


def test_a_model_is_tuned_and_its_record_is_right(home: Path, facts: Path) -> None:
    tune = ("tune", NAME, "--data", facts, "--out", "me/fact", *FAST, "--json")
    said = inside(*tune, home=home).ok().result
    assert said["type"] == "tuned"
    assert said["after"] < 0.9 * said["before"]
    assert said["steps"] == 16
    with Archive(home / "archive") as archive:
        base = archive.revision(RepoId.parse(NAME))
        adapter = archive.revision(RepoId.parse("me/fact"))
        record = lineage_of(archive, adapter)
    assert record is not None
    assert record.making is Making.ADAPTER
    assert record.base.manifest == base.digest
    assert record.base.form is WeightsForm.ORIGINAL
    assert record.data == Digest.of(facts.read_bytes())
    assert record.metrics["held_out_loss_after"] == said["after"]
    assert isinstance(record, LineageRecord)
    assert not list((home / "archive" / "tuning").iterdir())
    shown = inside("show", "me/fact", home=home).ok().out
    assert f"lineage   adapter of {NAME}" in shown
