"""The reference: changed copies of a GGUF model, and scores that are kept."""

from array import array
from pathlib import Path

import pytest

from outlast.engines.scoring.base import ScoredPosition, TextToken
from outlast.features.audit.reference.cache import ScoreCache
from outlast.features.audit.reference.rounded_gguf import KERNELS, write_changed
from tests.engines.gguf_files import Parts
from tests.features.audit.models import small_f16


@pytest.fixture(scope="module")
def f16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_f16(tmp_path_factory.mktemp("f16"))


def test_a_changed_model_has_the_same_header_and_other_weights(f16: Path, tmp_path: Path) -> None:
    [made] = write_changed([f16], tmp_path, "int8")
    before, after = Parts.of(f16), Parts.of(made)
    assert after.pairs == before.pairs
    assert after.tensors == before.tensors
    assert len(after.data) == len(before.data)
    assert after.data != before.data
    [other] = write_changed([f16], tmp_path, KERNELS)
    assert [one[0][-4:] for one in Parts.of(other).tensors].count(b"\x1e\0\0\0") == 15


def test_shards_are_changed_each(f16: Path, tmp_path: Path) -> None:
    shards = Parts.of(f16).split(tmp_path, "m")
    out = tmp_path / "out"
    out.mkdir()
    made = write_changed(shards, out, "int4")
    assert [one.name for one in made] == ["model-00001-of-00002.gguf", "model-00002-of-00002.gguf"]
    [whole] = write_changed([f16], tmp_path, "int4")
    assert b"".join(Parts.of(one).data for one in made) == Parts.of(whole).data


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path)
    rows = [ScoredPosition(7, array("q", [7, 9]), array("d", [-0.5, -2]), (b"a", b"\xff"))]
    question = {"manifest": "ab", "score": [1, 2]}
    assert cache.positions(question) is None
    cache.keep_positions(question, rows)
    assert cache.positions(question) == rows
    assert rows[0].chosen == -0.5
    assert cache.positions({**question, "manifest": "ac"}) is None
    tokens = [TextToken(3, b"x")]
    cache.keep_tokens({"t": 1}, tokens)
    assert cache.tokens({"t": 1}) == tokens
    assert cache.positions({"t": 1}) is None  # of another kind
    [file] = [f for f in tmp_path.rglob("*") if f.is_file() and f.stat().st_size > 60]
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    assert cache.positions(question) is None
