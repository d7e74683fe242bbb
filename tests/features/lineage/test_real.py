"""A real model in GGUF (SmolLM2, Q4_1), and what is made of its weights."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from outlast.codec.memory import InMemory, read
from outlast.codec.tensors import parse
from outlast.features.lineage.dequant import decode
from outlast.features.lineage.relative import Bond, EvidenceKind
from tests import campaign
from tests.features.lineage.models import Model, Zoo, permuted, trained
from tests.realweights import smollm2_gguf

_NAMES = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
_KEPT = (0, 1, 28, 29)
_MILLIONTH = -6.0 * np.log(10.0)


def layers_of(path: Path) -> Model:
    """The MLPs and values of the outer layers, dequantised, under Hugging Face's names."""
    blob = InMemory(path.read_bytes())
    container = parse(lambda offset, length: read(blob, offset, length), blob.size)
    assert container is not None
    found: Model = {}
    for tensor in container.tensors:
        _, layer, name, *_ = [*tensor.name.split("."), "", ""]
        word = _NAMES.get(name, "self_attn.v_proj" if name == "attn_v" else "")
        if word and int(layer) in _KEPT:
            values = decode(tensor.dtype, read(blob, tensor.offset, tensor.length))
            found[f"model.layers.{layer}.{word}.weight"] = values.reshape(tensor.shape)
    return found


@pytest.mark.torture
@pytest.mark.skipif(not campaign.LONG, reason="98 MB: make torture")
def test_smollm2_and_what_was_made_of_it(tmp_path: Path) -> None:
    zoo = Zoo(tmp_path)
    (tmp_path / "real").mkdir()
    shutil.copy(smollm2_gguf(), tmp_path / "real")
    zoo.add("real", tmp_path / "real")
    weights = layers_of(smollm2_gguf())
    zoo.put("tuned", trained(weights, 1, 0.1))
    zoo.put("moved", permuted(trained(weights, 2, 0.1), 3))
    strange = {name: np.random.default_rng(9).permuted(w) for name, w in weights.items()}
    zoo.put("strange", strange)
    found = {one.repo.name: one for one in zoo.find("real", "tuned", "moved").relatives}
    for name, kind in (("tuned", EvidenceKind.ROWS), ("moved", EvidenceKind.VALUES)):
        one = found[f"me/{name}"]
        assert one.bond is Bond.RELATED
        assert one.log_p is not None
        assert one.log_p < _MILLIONTH
        assert min(e.log_p or 0.0 for e in one.evidence if e.kind is kind) < _MILLIONTH
    assert not zoo.find("strange", "real", "tuned").relatives
