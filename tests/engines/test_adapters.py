"""Adapters of strangers: what is read of them, and what is refused."""

import json
from typing import Any

import pytest

from outlast.codec.tensors import Tensor
from outlast.core.errors import EngineError, MalformedError, OutlastError
from outlast.engines.adapters import read_adapter

MODULE = "model.layers.0.self_attn.q_proj"


def tensors(*more: Tensor, module: str = MODULE, rank: int = 4) -> list[Tensor]:
    name = f"base_model.model.{module}.lora_"
    return [
        Tensor(f"{name}A.weight", "F32", (rank, 64), 0, 1024),
        Tensor(f"{name}B.weight", "F32", (32, rank), 1024, 512),
        *more,
    ]


def config(**changes: Any) -> bytes:
    return json.dumps(
        {
            "peft_type": "LORA",
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["q_proj"],
            "bias": "none",
            "base_model_name_or_path": "org/base",
            "auto_mapping": None,
            "modules_to_save": None,
            **changes,
        }
    ).encode()


def test_an_adapter_is_what_its_tensors_say() -> None:
    found = read_adapter(config(target_modules="(a+)+$"), tensors())
    assert found.modules == {MODULE: 4}
    assert found.scale(MODULE) == 2
    assert str(found.base) == "org/base"
    assert found.peft_config()["target_modules"] == [MODULE]
    rooted = read_adapter(config(use_rslora=True), tensors())
    assert rooted.scale(MODULE) == 4


def test_ranks_and_alphas_of_single_modules() -> None:
    both = [*tensors(), *tensors(module="model.layers.1.mlp.up_proj", rank=2)]
    found = read_adapter(
        config(rank_pattern={"up_proj": 2}, alpha_pattern={"layers.1.mlp.up_proj": 1}), both
    )
    assert found.scale("model.layers.1.mlp.up_proj") == 0.5
    assert found.peft_config()["rank_pattern"] == {r"^model\.layers\.1\.mlp\.up_proj": 2}
    with pytest.raises(MalformedError, match="is 2, and not what"):
        read_adapter(config(), both)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../base", "~/base", "./base", "base", "C:\\models\\base", None, 3]
)
def test_a_base_that_is_a_path_is_none(name: Any) -> None:
    assert read_adapter(config(base_model_name_or_path=name), tensors()).base is None


@pytest.mark.parametrize(
    "changes",
    [
        {"peft_type": "IA3"},
        {"peft_type": None},
        {"bias": "all"},
        {"modules_to_save": ["lm_head"]},
        {"trainable_token_indices": [1]},
        {"layer_replication": [[0, 4]]},
        {"target_parameters": ["w"]},
        {"fan_in_fan_out": True},
        {"lora_bias": True},
        {"use_qalora": True},
        {"arrow_config": {"a": 1}},
        {"what_comes_next": 1},
        {"alpha_pattern": {"(a+)+$": 1}},
        {"rank_pattern": {".*": 4}},
    ],
)
def test_other_kinds_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(EngineError):
        read_adapter(config(**changes), tensors())


@pytest.mark.parametrize(
    "changes",
    [{"lora_alpha": 0}, {"lora_alpha": True}, {"lora_alpha": "8"}, {"lora_alpha": 1e300}, {"r": 5}],
)
def test_scales_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        read_adapter(config(**changes), tensors())


@pytest.mark.parametrize(
    "found",
    [
        [],
        tensors()[:1],
        [Tensor("base_model.model.x.lora_A.weight", "F32", (4, 64), 0, 1024)] * 2,
        [tensors()[0], Tensor(tensors()[1].name, "F32", (32, 5), 0, 640)],
        [tensors()[0], Tensor(tensors()[1].name, "F32", (32,), 0, 128)],
        [*tensors(), Tensor("base_model.model.lm_head.weight", "F32", (4, 4), 0, 64)],
        [*tensors(), Tensor(f"base_model.model.{MODULE}.lora_embedding_A", "F32", (4, 4), 0, 64)],
        [*tensors(), Tensor("base_model.model.a/../b.lora_A.weight", "F32", (4, 4), 0, 64)],
        [
            *tensors(),
            Tensor(f"base_model.model.{MODULE}.lora_magnitude_vector", "F32", (32,), 0, 128),
        ],
    ],
)
def test_tensors_that_do_not_make_one(found: list[Tensor]) -> None:
    with pytest.raises(OutlastError):
        read_adapter(config(), found)


def test_magnitudes() -> None:
    vector = Tensor(f"base_model.model.{MODULE}.lora_magnitude_vector", "F32", (32,), 0, 128)
    assert read_adapter(config(use_dora=True), tensors(vector)).magnitudes


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"r": 1, "r": 2}', b"[" * 100_000])
def test_what_is_no_configuration(data: bytes) -> None:
    with pytest.raises(MalformedError):
        read_adapter(data, tensors())
