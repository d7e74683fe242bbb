"""The reference: changed copies of a GGUF model, and scores that are kept."""

import os
import sys
from array import array
from pathlib import Path

import numpy as np
import pytest

from outlast.core.control import Control
from outlast.core.names import Target
from outlast.engines.base import ChatMessage
from outlast.engines.scoring.base import ScoredPosition, TextToken
from outlast.features.audit.asking.answers import ServedToken
from outlast.features.audit.evidence import GREEDY, LOGPROBS
from outlast.features.audit.gathering import Lengths, aligned, calibrate, retokenised
from outlast.features.audit.reference.cache import ScoreCache
from outlast.features.audit.reference.reference import Reference, ReferenceOptions
from outlast.features.audit.reference.rounded_gguf import KERNELS, disturbed, write_changed
from outlast.ops.run import prepare
from outlast.store.archive import Archive
from tests.campaign import LONG
from tests.cli.call import inside
from tests.engines.gguf_files import Parts
from tests.engines.torch_env import find_python, make_tiny_models, packages_of
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


def test_the_stand_in_for_other_numerics_changes_some_weights_a_little() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(32, 64)).astype(np.float32)
    found = disturbed(values)
    off = np.abs(found / values - 1)
    assert 2**-7 < off.max() <= 2**-6
    assert np.mean(found != values) == pytest.approx(9 / 16, abs=0.01)
    # Both 16-bit floats hold what is rounded, so storing it changes no more.
    rounded = found[found != values]
    assert (rounded.astype(np.float16) == rounded).all()
    assert not disturbed(np.zeros((2, 32), np.float32)).any()


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


@pytest.mark.torture
@pytest.mark.skipif(not LONG, reason="loads torch five times: make torture")
def test_a_safetensors_model_is_a_reference(tmp_path: Path) -> None:
    """A tiny model with random weights, in its own precision, in float32, and rounded."""
    python = find_python("torch", "transformers")
    inside("add", make_tiny_models(python) / "True", "--as", "me/tiny", home=tmp_path).ok()
    with pytest.MonkeyPatch.context() as patch, Archive(tmp_path / "archive") as archive:
        if python is not None:
            patch.setattr(sys, "path", [*sys.path, os.fspath(packages_of(python))])
            patch.setenv("PYTHONPATH", os.fspath(packages_of(python)))
        control = Control(lambda _: None)
        target = Target.parse("me/tiny")
        ready = prepare(archive, target, wanted=None, engine=None, recheck=False, control=control)
        cache, options = ScoreCache(tmp_path), ReferenceOptions(threads=1)
        with ready, Reference(ready, cache, options, control.cancel) as reference:
            assert reference.honest == ("own", "bfloat16")
            found = calibrate(LOGPROBS, reference, ["the sea", "the sky"], Lengths(4, 20))
            computed = reference.computed
            assert calibrate(LOGPROBS, reference, ["the sea", "the sky"], Lengths(4, 20)) == found
            assert reference.computed == computed > 0
            greedy = calibrate(GREEDY, reference, ["the sea"], Lengths(4, 20))
            assert reference.render([ChatMessage("user", "the sea")])
    honest = max(max(one) for one in found["honest"]["bfloat16"])
    worst = {name: max(map(max, scores)) for name, scores in found["alternatives"].items()}
    assert 0 < honest < worst["int4"]
    assert 1e-5 < worst["int8"] < worst["int4"]
    assert len(greedy["honest"]["bfloat16"]) == 1


def test_text_is_compared_as_far_as_it_was_read_alike() -> None:
    own = [TextToken(1, b"a"), TextToken(2, b"b"), TextToken(3, b"cd")]
    served = [ServedToken(piece, -1, {}) for piece in (b"a", b"b", b"c", b"d")]
    assert aligned(own, served) == 2
    assert aligned(own, served[:1]) == 1
    assert aligned([], served) == 0


def test_a_shorter_token_of_the_same_text_ends_the_comparison() -> None:
    def scored(token: int, first: int, piece: bytes) -> ScoredPosition:
        return ScoredPosition(token, array("q", [first]), array("d", [-0.1]), (piece,))

    own = [TextToken(1, b"a"), TextToken(2, b"bc"), TextToken(3, b"d")]
    same = [scored(1, 1, b"a"), scored(2, 2, b"bc"), scored(3, 3, b"d")]
    assert retokenised(own, same) == 3
    assert retokenised(own, [same[0], scored(2, 9, b"b"), same[2]]) == 1
    # Another word is a disagreement, and no other way to read the same one.
    assert retokenised(own, [same[0], scored(2, 9, b"x"), same[2]]) == 3
    # The first choice may reach into the next token.
    assert retokenised(own, [same[0], scored(2, 9, b"bcd"), same[2]]) == 1
