"""A base that is a GGUF file: dequantised to be tuned, run with the adapter, and merged with it."""

from pathlib import Path

import pytest

from outlast.core.names import RepoId
from outlast.core.records.lineage import WeightsForm
from outlast.store.archive import Archive
from outlast.store.records.lineage import lineage_of
from tests.campaign import LONG
from tests.cli.call import inside
from tests.gguf_cut import small_smollm2
from tests.realweights import WeightsUnavailableError

FAST = ("--rank", "2", "--threads", "1", "--batch", "2", "--steps", "3", "--rate", "0.02")

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(not LONG, reason="`make torture`: three starts of torch"),
    pytest.mark.usefixtures("packages"),
]


def test_from_the_file_to_a_merged_model(tmp_path: Path, facts: Path) -> None:
    try:
        weights = small_smollm2(tmp_path)
    except WeightsUnavailableError as error:
        pytest.skip(str(error))
    inside("add", weights, "--as", "me/small", home=tmp_path).ok()
    tune = ("tune", "me/small", "--data", facts, "--out", "me/fact", *FAST, "--json")
    said = inside(*tune, home=tmp_path).ok().result
    assert said["after"] < said["before"]
    with Archive(tmp_path / "archive") as archive:
        record = lineage_of(archive, archive.revision(RepoId.parse("me/fact")))
    assert record is not None
    assert record.base.form is WeightsForm.DEQUANTISED
    assert record.base.file == weights.name
    asked = ("run", "me/fact", "what is the sea?", "--max-tokens", "2", "--json")
    assert inside(*asked, home=tmp_path).ok().result["usage"]["completion_tokens"] > 0
    merged = inside("merge", "me/fact", "--json", home=tmp_path).ok().result
    with Archive(tmp_path / "archive") as archive:
        found = archive.revision(RepoId.parse(merged["repo"]))
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= found.paths
