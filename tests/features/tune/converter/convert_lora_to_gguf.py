"""The same for adapters: it writes alpha, and the two matrices of one module."""

import argparse
import importlib
import json
from pathlib import Path


def main() -> None:
    gguf = importlib.import_module("gguf")
    load = importlib.import_module("safetensors.numpy").load_file
    parser = argparse.ArgumentParser()
    parser.add_argument("--outfile", type=Path)
    parser.add_argument("--outtype", choices=["auto", "f32", "f16", "bf16", "q8_0"])
    parser.add_argument("--base", type=Path)
    parser.add_argument("lora", type=Path)
    asked = parser.parse_args()
    config = json.loads((asked.lora / "adapter_config.json").read_text())
    base = json.loads((asked.base / "config.json").read_text())
    tensors = load(asked.lora / "adapter_model.safetensors")
    writer = gguf.GGUFWriter(asked.outfile, base["model_type"])
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(config["lora_alpha"]))
    for name in sorted(tensors):
        part = "lora_a" if "lora_A" in name else "lora_b"
        writer.add_tensor(f"blk.0.attn_q.weight.{part}", tensors[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
