"""What was made from a model is found, whatever was done to it; what was not is not."""

import math
from pathlib import Path

import pytest

from outlast.features.lineage.relative import Bond, EvidenceKind, Relative
from tests import campaign
from tests.features.lineage import models
from tests.features.lineage.models import Zoo, model

_MILLIONTH = math.log(1e-6)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """A base, what was made from it, and strangers of the same shape."""
    zoo = Zoo(tmp_path_factory.mktemp("zoo"))
    base, second = model(1), models.trained(model(1), 77, 0.5)
    zoo.put("base", base)
    zoo.put("second", second)
    zoo.put("tuned", models.trained(base, 2))
    zoo.put("far", models.trained(base, 3, 1.5))
    zoo.put("lora", models.with_lora(base, 4))
    zoo.put("merge", models.merged(base, second, 0.6))
    zoo.put("permuted", models.permuted(models.trained(base, 5), 6))
    zoo.put("pruned", models.pruned(base))
    zoo.put("grown", models.grown(base, 7))
    zoo.put("shallow", models.without_layers(models.trained(base, 8), [0, 2]))
    zoo.put("narrow", models.narrowed(models.trained(base, 9), 150))
    zoo.put("renamed", models.renamed(models.trained(base, 10)))
    zoo.put("same", base)
    zoo.put("float", base, "F32")
    for dtype in ("Q4_1", "Q8_0", "F16"):
        zoo.put_gguf(dtype.lower(), base, dtype)
    zoo.put_gguf("tuned-q8", models.trained(base, 2), "Q8_0")
    zoo.put("stranger", model(100))
    zoo.put("strange-width", model(101, width=32, hidden=96))
    return zoo


def _one(zoo: Zoo, name: str, other: str = "base") -> Relative:
    found = zoo.find(name, other)
    (one,) = (*found.relatives, *found.others)
    return one


@pytest.mark.parametrize(
    "name",
    [
        *("tuned", "lora", "permuted", "pruned", "grown", "shallow", "narrow", "renamed"),
        *("far", "merge", "q4_1", "q8_0", "f16", "tuned-q8", "float"),
    ][: campaign.rounds(8, 15)],  # of the others there are tests below
)
def test_relatives_are_found(zoo: Zoo, name: str) -> None:
    ways = [(name, "base"), ("base", name)]
    for one in (_one(zoo, *way) for way in ways[: campaign.rounds(1, 2)]):
        assert one.is_bound, one
        assert one.log_p is not None
        assert one.log_p < _MILLIONTH, one
        assert "3 layers" in one.evidence[-1].text or name in {"renamed", "shallow"}


def _without_values(weights: models.Model) -> models.Model:
    return {name.replace("v_proj", "mixed"): w for name, w in weights.items()}


def test_moved_units_are_found_by_their_signs(tmp_path: Path) -> None:
    zoo = Zoo(tmp_path)
    base = model(1)
    zoo.put("base", _without_values(base))
    zoo.put("moved", _without_values(models.permuted(models.trained(base, 5), 6)))
    zoo.put("strange", _without_values(model(100)))
    kinds = {one.kind: one for one in _one(zoo, "moved").evidence}
    assert (kinds[EvidenceKind.ROWS].log_p or 0) > _MILLIONTH
    assert (kinds[EvidenceKind.UNITS].log_p or 0) < _MILLIONTH
    assert _one(zoo, "moved").bond is Bond.RELATED
    assert _one(zoo, "strange").bond is Bond.UNRELATED
    assert EvidenceKind.UNITS in {one.kind for one in _one(zoo, "strange").evidence}


@pytest.mark.parametrize("name", ["stranger", "strange-width"])
def test_strangers_are_not(zoo: Zoo, name: str) -> None:
    found = zoo.find(name, "base", "tuned", "q4_1")
    assert not found.relatives
    assert {one.bond for one in found.others} <= {Bond.UNRELATED, Bond.UNTESTED}


@pytest.mark.parametrize(("name", "dtype"), [("q4_1", "Q4_1"), ("q8_0", "Q8_0"), ("f16", "F16")])
def test_quantising_again_is_a_proof(zoo: Zoo, name: str, dtype: str) -> None:
    down, up = _one(zoo, name), _one(zoo, "base", name)
    assert EvidenceKind.REQUANTISED in {evidence.kind for evidence in down.evidence}
    if name == "f16":  # bf16 in f16: each gives the other
        assert down.bond is up.bond is Bond.RELATED
    else:
        assert (down.bond, up.bond) == (Bond.PARENT, Bond.CHILD)
    assert any(dtype in evidence.text for evidence in down.evidence)


def test_it_is_no_proof_of_a_tuned_model(zoo: Zoo) -> None:
    one = _one(zoo, "tuned-q8")
    assert one.bond is Bond.RELATED
    assert EvidenceKind.REQUANTISED not in {evidence.kind for evidence in one.evidence}
    assert _one(zoo, "tuned-q8", "tuned").bond is Bond.PARENT


def test_equal_files(zoo: Zoo) -> None:
    assert _one(zoo, "same").bond is Bond.SAME


def test_a_wider_float_has_no_direction(zoo: Zoo) -> None:
    assert _one(zoo, "float").bond is Bond.RELATED


def test_a_merge_names_its_parents(zoo: Zoo) -> None:
    found = zoo.find("merge", "base", "second", "tuned", "stranger")
    parents = {one.repo.name for one in found.relatives if one.bond is Bond.PARENT}
    assert parents == {"me/base", "me/second"}
    shares = [
        evidence.value or 0.0
        for one in found.relatives
        for evidence in one.evidence
        if evidence.kind is EvidenceKind.MERGE
    ]
    assert sorted(shares) == pytest.approx([0.4, 0.6], abs=0.02)
    assert zoo.find("base", "merge", "second", "tuned").relatives[0].bond is Bond.RELATED


def test_what_tells_how_it_was_made(zoo: Zoo) -> None:
    lora = {evidence.kind: evidence for evidence in _one(zoo, "lora").evidence}
    assert 1 <= (lora[EvidenceKind.RANK].value or 0) <= 4
    assert EvidenceKind.RANK not in {evidence.kind for evidence in _one(zoo, "tuned").evidence}
    assert _one(zoo, "pruned").bond is Bond.PARENT
    assert _one(zoo, "base", "pruned").bond is Bond.CHILD
    assert EvidenceKind.VOCABULARY in {evidence.kind for evidence in _one(zoo, "grown").evidence}
    shallow = {evidence.kind for evidence in _one(zoo, "shallow").evidence}
    assert EvidenceKind.STRUCTURE in shallow


def test_the_whole_archive(zoo: Zoo) -> None:
    found = zoo.find("tuned")
    assert found.considered == 19
    names = {one.repo.name for one in found.relatives}
    assert {"me/base", "me/tuned-q8"} <= names
    assert not {"me/stranger", "me/strange-width"} & names
    strange = zoo.find("stranger")
    assert not strange.relatives


def test_sketches_are_kept_and_made_again(zoo: Zoo) -> None:
    zoo.find("stranger")
    folder = zoo.home / "archive" / "sketches"
    kept = sorted(folder.iterdir())
    assert len(kept) >= 19
    before = kept[0].read_bytes()
    kept[0].chmod(0o600)
    kept[0].write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    foreign = folder / f"{'0' * 64}.sketch"
    foreign.write_bytes(b"")
    zoo.find("stranger")
    assert kept[0].read_bytes() == before
    assert not foreign.exists()


def test_tokenizers(tmp_path: Path) -> None:
    zoo = Zoo(tmp_path)
    tokens = {f"t{at}": at for at in range(100)}
    less = tokens | {"t5": 900, "t6": 901}
    zoo.put("one", model(1), tokenizer=models.tokenizer(tokens))
    zoo.put("two", model(2), tokenizer=models.tokenizer(less))
    zoo.put("three", model(3), tokenizer="[[[[")
    kinds = {one.kind: one for one in _one(zoo, "one", "two").evidence}
    assert kinds[EvidenceKind.TOKENIZER].value == pytest.approx(0.98)
    assert EvidenceKind.TOKENIZER not in {e.kind for e in _one(zoo, "one", "three").evidence}
