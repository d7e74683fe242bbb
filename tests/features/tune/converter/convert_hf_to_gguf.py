"""Stands where llama.cpp's script of this name stands, with the same command line: it writes the
name and the width of a model, by the package that llama.cpp's own uses.
"""

import argparse
import importlib
import json
import socket
import sys
from pathlib import Path


def main() -> None:
    gguf = importlib.import_module("gguf")
    numpy = importlib.import_module("numpy")
    parser = argparse.ArgumentParser()
    parser.add_argument("--outfile", type=Path)
    parser.add_argument("--outtype", choices=["auto", "f32", "f16", "bf16", "q8_0"])
    parser.add_argument("--model-name")
    parser.add_argument("model", type=Path)
    asked = parser.parse_args()
    config = json.loads((asked.model / "config.json").read_text())
    if config.get("fill") == 2:
        sys.exit(1)
    if config.get("fill") == 3:
        socket.create_connection(("127.0.0.1", 9))
    if config.get("fill") == 4:
        importlib.import_module("package_that_is_not_there")
    writer = gguf.GGUFWriter(asked.outfile, config["model_type"])
    writer.add_name(asked.model_name)
    writer.add_tensor("token_embd.weight", numpy.zeros((4, 4), dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
