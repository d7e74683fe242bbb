"""Files that lie: they find no relatives, take no memory, and stop nothing."""

import importlib.util
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest

from outlast.codec.claims import BLOCKS
from outlast.codec.memory import InMemory
from outlast.codec.tensors import Tensor
from outlast.features.lineage import sketch
from outlast.features.lineage.dequant import DECODED
from outlast.features.lineage.relative import Bond
from outlast.features.lineage.tuning import TUNING
from outlast.features.lineage.weight_tests import match_rho
from outlast.features.lineage.weights import Matrix
from tests import campaign
from tests.cli.call import inside
from tests.features.lineage import models
from tests.features.lineage.models import Model, Zoo, model


def filled(base: Model, value: float) -> Model:
    return {name: np.full_like(w, value) for name, w in base.items()}


@pytest.mark.parametrize("value", [1.0, 0.0, math.nan, math.inf, 3e38][: campaign.rounds(1, 5)])
def test_constant_weights_are_related_to_none(tmp_path: Path, value: float) -> None:
    zoo = Zoo(tmp_path)
    zoo.put("one", filled(model(1), value), "F32")
    other = filled(model(1), value)
    other["model.norm.weight"] = np.full(models.WIDTH, 7, np.float32)
    zoo.put("other", other, "F32")
    zoo.put("base", model(1), "F32")
    found = zoo.find("one", "other", "base")
    assert not found.relatives, found.relatives
    assert not zoo.find("base", "one", "other").relatives


def test_rows_of_one_copy_fall_at_random() -> None:
    row = np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32)
    data = np.repeat(row, 128, axis=0).tobytes()
    same = Matrix(InMemory(data), Tensor("t", "F32", (128, 64), 0, len(data)), 0, 128)
    rhos = [match_rho(same, same, np.random.default_rng(seed), TUNING) for seed in range(20)]
    assert max(abs(rho[0]) for rho in rhos if rho is not None) < 0.5


def test_a_few_infinities_hide_nothing(tmp_path: Path) -> None:
    zoo = Zoo(tmp_path)
    base = model(1)
    spoiled = models.trained(base, 2)
    for w in spoiled.values():
        w.reshape(-1)[::97] = np.nan
        w.reshape(-1)[5::101] = np.inf
    zoo.put("base", base)
    zoo.put("spoiled", spoiled, "F32")
    assert zoo.find("spoiled", "base").relatives[0].bond is Bond.RELATED


def lying(folder: Path, header: dict[str, object], data: bytes = b"") -> Path:
    folder.mkdir(parents=True)
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return folder


def entry(shape: list[int], length: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, length]}


@pytest.mark.parametrize(
    "header",
    [
        {"model.layers.0.mlp.gate_proj.weight": entry([1 << 40, 1 << 40], 4096)},
        {"model.layers.0.mlp.gate_proj.weight": entry([0, 64], 0)},
        {"model.layers.0.mlp.gate_proj.weight": entry([1024], 4096)},
        {"model.layers.0.mlp.gate_proj.weight": entry([1, 1, 1, 1024], 4096)},
        {"model.layers.99999.mlp.gate_proj.weight": entry([32, 32], 4096)},
        {"model.layers.0.mlp.gate_proj.weight": entry([32, 32], 4096, "F99")},
        {"model.layers.0.mlp.gate_up_proj.weight": entry([31, 33], 4092)},
        {"model.embed_tokens.weight": entry([1024, 1], 4096)},
        {},
    ],
)
def test_shapes_that_lie(tmp_path: Path, header: dict[str, object]) -> None:
    zoo = Zoo(tmp_path)
    zoo.add("liar", lying(tmp_path / "liar", header, bytes(range(256)) * 16))
    zoo.put("base", model(1))
    assert not zoo.find("base", "liar").relatives
    assert not zoo.find("liar").relatives


def test_a_gguf_with_a_huge_header_is_opaque(tmp_path: Path) -> None:
    zoo = Zoo(tmp_path)
    folder = tmp_path / "huge"
    folder.mkdir()
    (folder / "m.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60))
    zoo.add("huge", folder)
    zoo.put("base", model(1))
    (one,) = zoo.find("base", "huge").others
    assert one.bond is Bond.UNTESTED


def test_rows_too_long_are_not_read(tmp_path: Path) -> None:
    zoo = Zoo(tmp_path)
    columns = TUNING.seen_columns + 1
    w = np.zeros((16, columns), np.float32)
    zoo.put("long", {"model.layers.0.mlp.gate_proj.weight": w}, "F32")
    zoo.put("base", model(1))
    assert zoo.find("long", "base").others[0].bond is Bond.UNTESTED


@pytest.mark.parametrize("dtype", sorted(DECODED))
def test_any_bytes_are_some_weights(dtype: str) -> None:
    data = np.random.default_rng(1).integers(0, 256, 64 * BLOCKS[dtype][1], dtype=np.uint8)
    raw = data.tobytes()
    columns = BLOCKS[dtype][0]
    tensor = Tensor("t", dtype, (64, columns), 0, len(raw))
    assert np.isfinite(Matrix(InMemory(raw), tensor, 0, 64).take(range(64))).all()


@pytest.mark.parametrize("cut", [0, 1, 16, 17, 19, 60])
def test_sketches_that_are_cut_are_none(cut: int) -> None:
    whole = sketch.to_bytes({"up.0": np.ones(sketch.VALUES, np.float16)})
    assert sketch.from_bytes(whole) is not None
    assert sketch.from_bytes(whole[:cut]) is None
    assert sketch.from_bytes(whole[:-1]) is None


def test_the_command(tmp_path: Path) -> None:
    zoo = Zoo(tmp_path)
    base = model(1)
    zoo.put("base", base)
    zoo.put("tuned", models.trained(base, 2))
    picture = tmp_path / "picture.svg"
    said = inside("lineage", "me/tuned", "--svg", picture, home=tmp_path).ok().out
    assert "shares weights with me/base" in said
    assert "1 relative among 1 other model" in said
    drawn = picture.read_text()
    assert drawn.startswith("<svg")
    assert "me/base" in drawn
    assert inside("lineage", "me/none", home=tmp_path).failed("not-found")
    missing = tmp_path / "nowhere" / "x.svg"
    assert inside("lineage", "me/tuned", "--svg", missing, home=tmp_path).failed("storage")


def test_without_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "numpy" else find(name)
    )
    assert "numpy" in inside("lineage", "me/x", home=tmp_path).failed("usage")
