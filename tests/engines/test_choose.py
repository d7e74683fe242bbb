"""Which engine and which file: a table of what revisions look like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.errors import EngineError, EntryNotFoundError, OutlastError
from outlast.engines.choose import LLAMA, QUANT_ORDER, TRANSFORMERS, choose

CONFIGURED = ("config.json", "model.safetensors", "tokenizer.json", "README.md", "code.py")
SHARDS = tuple(f"m-Q8_0-0000{number}-of-00003.gguf" for number in (1, 2, 3))


def sized(*paths: str) -> list[tuple[str, int]]:
    return [(path, 10) for path in paths]


@pytest.mark.parametrize(
    ("paths", "wanted", "chosen"),
    [
        (("m.gguf", "README.md"), None, ("m.gguf",)),
        (("m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-Q2_K.gguf"), None, ("m-Q4_K_M.gguf",)),
        (("m-Q8_0.gguf", "m.Q5_K_M.gguf", "m-Q2_K.gguf"), None, ("m.Q5_K_M.gguf",)),
        (("m-f16.gguf", "m-q8_0.gguf"), None, ("m-q8_0.gguf",)),
        (("m-BF16.gguf", "m-IQ1_S.gguf"), None, ("m-BF16.gguf",)),
        (("m-UD-Q4_K_XL.gguf", "m-Q4_K_S.gguf"), None, ("m-UD-Q4_K_XL.gguf",)),
        (("m-Q6_K.gguf", "mmproj-Q4_K_M.gguf"), None, ("m-Q6_K.gguf",)),
        (("m-Q6_K.gguf", "m-mmproj-f16.gguf", "imatrix.gguf"), None, ("m-Q6_K.gguf",)),
        (("ggml-vocab-llama.gguf", "m-lora-Q4_K_M.gguf", "m-F32.gguf"), None, ("m-F32.gguf",)),
        (("explora-Q4_K_M.gguf", "m-Q8_0.gguf"), None, ("explora-Q4_K_M.gguf",)),
        (("Q4_K_M/m.gguf", "Q8_0/m.gguf"), None, ("Q4_K_M/m.gguf",)),
        (SHARDS, None, SHARDS),
        ((*SHARDS[::-1], "m-F16.gguf"), None, SHARDS),
        ((*SHARDS[:2], "m-F16.gguf"), None, ("m-F16.gguf",)),
        (SHARDS, SHARDS[0], SHARDS),
        (SHARDS, SHARDS[2], SHARDS),
        ((*SHARDS, "m-Q4_K_M.gguf"), "*Q8_0*", SHARDS),
        (("m-Q8_0.gguf", "m-Q4_K_M.gguf"), "m-Q8_0.gguf", ("m-Q8_0.gguf",)),
        (("a/m-Q8_0.gguf", "m-Q4_K_M.gguf"), "m-Q8*", ("a/m-Q8_0.gguf",)),
        (("m-Q8_0.gguf", "m-Q4_K_M.gguf", "mmproj.gguf"), "*.gguf", ("m-Q4_K_M.gguf",)),
        (("m-Q8_0.gguf", "mmproj.gguf"), "mmproj.gguf", ("mmproj.gguf",)),
        ((*CONFIGURED, "m-Q2_K.gguf"), None, ("m-Q2_K.gguf",)),
        (("m[1].gguf", "m-Q4_K_M.gguf"), "m[1].gguf", ("m[1].gguf",)),
        (("M-Q4_K_M.GGUF",), None, ("M-Q4_K_M.GGUF",)),
    ],
)
def test_gguf(paths: tuple[str, ...], wanted: str | None, chosen: tuple[str, ...]) -> None:
    choice = choose(sized(*paths), wanted)
    assert (choice.engine, choice.files, choice.size) == (LLAMA, chosen, 10 * len(chosen))
    assert choice.why


@pytest.mark.parametrize(
    ("paths", "folder", "chosen"),
    [
        (CONFIGURED, "", ("config.json", "model.safetensors", "tokenizer.json")),
        (
            ("sub/config.json", "sub/model.safetensors", "README.md", "sub/pytorch_model.bin"),
            "sub",
            ("sub/config.json", "sub/model.safetensors"),
        ),
        (
            ("config.json", "model.safetensors", "consolidated.safetensors", "onnx/model.onnx"),
            "",
            ("config.json", "model.safetensors"),
        ),
        (
            (
                "config.json",
                "model.safetensors",
                "adapter_config.json",
                "adapter_model.safetensors",
            ),
            "",
            ("config.json", "model.safetensors"),
        ),
        (
            (
                *("a/config.json", "a/m.safetensors", "config.json", "m-1.safetensors"),
                *("merges.txt", "chat_template.jinja", "tokenizer.model"),
                "additional_chat_templates/rag.jinja",
            ),
            "",
            (
                *("additional_chat_templates/rag.jinja", "chat_template.jinja", "config.json"),
                *("m-1.safetensors", "merges.txt", "tokenizer.model"),
            ),
        ),
    ],
)
def test_safetensors(paths: tuple[str, ...], folder: str, chosen: tuple[str, ...]) -> None:
    choice = choose(sized(*paths))
    assert (choice.engine, choice.folder, choice.files) == (TRANSFORMERS, folder, chosen)
    assert choice.size == 10 * len(chosen)


def test_an_engine_can_be_asked_for() -> None:
    both = sized(*CONFIGURED, "m-Q4_K_M.gguf")
    assert choose(both, engine=TRANSFORMERS).files[0] == "config.json"
    assert choose(both, engine=LLAMA).files == ("m-Q4_K_M.gguf",)
    assert choose(both, "*.safetensors").engine == TRANSFORMERS
    with pytest.raises(EngineError, match=r"llama\.cpp cannot run model\.safetensors"):
        choose(sized(*CONFIGURED), engine=LLAMA)
    with pytest.raises(EngineError, match=r"transformers cannot run m\.gguf"):
        choose(sized("m.gguf"), engine=TRANSFORMERS)
    with pytest.raises(EngineError, match="unknown engine"):
        choose(both, engine="vllm")


@pytest.mark.parametrize(
    ("paths", "message", "hint"),
    [
        ((), "no weights", "GGUF"),
        (("README.md",), "no weights", "GGUF"),
        (("pytorch_model.bin", "config.json"), r"pickle.*never loaded: pytorch_model\.bin", "GGUF"),
        (("a.pt", "b.pth", "c.ckpt", "d.pkl"), "and 1 more", "GGUF"),
        (("onnx/model.onnx", "config.json"), "ONNX", "onnxruntime"),
        (("m.tflite",), "LiteRT", "LiteRT"),
        (("tf_model.h5",), "Keras", "keras"),
        (("flax_model.msgpack",), "Flax", "flax"),
        (("model.safetensors",), "no config.json", ""),
        (("adapter_model.safetensors", "adapter_config.json"), "adapter", "base"),
        (
            ("config.json", "adapter_model.safetensors", "adapter_config.json"),
            "adapter",
            "base",
        ),
        (("model_index.json", "unet/m.safetensors"), "diffusion", "diffusers"),
        (("mmproj-f16.gguf",), "no models by themselves", "--file"),
        (SHARDS[:2], "1 of its parts", "--file"),
        (SHARDS[1:], "1 of its parts", "--file"),
    ],
)
def test_nothing_to_run(paths: tuple[str, ...], message: str, hint: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        choose(sized(*paths))
    assert hint in caught.value.hint


def test_a_wish_that_cannot_be_met() -> None:
    with pytest.raises(EntryNotFoundError):
        choose(sized("m.gguf"), "*.safetensors")
    with pytest.raises(EngineError, match="no weights"):
        choose(sized("m.gguf", "README.md"), "README.md")
    with pytest.raises(EngineError, match="pickle"):
        choose(sized("m.gguf", "m.bin"), "m.bin")
    with pytest.raises(EngineError, match="parts"):
        choose(sized("m.gguf", *SHARDS[:2]), SHARDS[0])


def test_among_equals_the_smaller_file_wins() -> None:
    assert choose([("b.gguf", 5), ("a.gguf", 6)]).files == ("b.gguf",)
    assert choose([("b.gguf", 5), ("a.gguf", 5)]).files == ("a.gguf",)


@pytest.mark.parametrize("quant", QUANT_ORDER)
def test_every_known_quantisation_is_recognised(quant: str) -> None:
    last = "-zz"
    for name in (f"m-{quant}.gguf", f"m.{quant.lower()}.gguf", f"{quant}/m.gguf"):
        choice = choose([(name, 10), (f"m{last}.gguf", 1)])
        assert choice.files == (name,)


names = st.lists(
    st.sampled_from(["m", "Q4_K_M", "q8_0", "mmproj", "config.json", "adapter_config.json", "a/b"]),
    min_size=1,
    max_size=4,
).map("-".join)
endings = st.sampled_from([".gguf", ".safetensors", ".bin", "", "-00001-of-00002.gguf", ".onnx"])
paths_strategy = st.lists(st.builds(str.__add__, names, endings) | st.text(max_size=20), max_size=8)


@given(paths_strategy, st.none() | st.text(max_size=12), st.sampled_from([None, LLAMA]))
def test_any_listing_gives_a_choice_or_an_error(
    paths: list[str], wanted: str | None, engine: str | None
) -> None:
    files = sized(*paths)
    try:
        choice = choose(files, wanted, engine)
    except OutlastError:
        return
    assert choice.files
    assert set(choice.files) <= set(paths)
    assert choice == choose(reversed(files), wanted, engine)
    assert not any(path.endswith(".bin") for path in choice.files)
