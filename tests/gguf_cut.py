"""A small model cut out of a real one: it has every part of it, and says nonsense."""

import struct
from itertools import pairwise
from pathlib import Path

from tests.engines.gguf_files import Parts, strings, u32
from tests.realweights import smollm2_gguf

_HEAD = 16
"""Bytes of an array before its strings: a type, the type of its elements, their number."""
_TOKENS = "tokenizer.ggml.tokens"
_TYPES = "tokenizer.ggml.token_type"
_MERGES = "tokenizer.ggml.merges"
_EMBEDDING = b"token_embd.weight"
_ENDINGS = (0, 2)
"""The tokens that end an answer: with weights of 0 they are hardly ever chosen."""


def small_smollm2(folder: Path) -> Path:
    """Two of the 30 layers of SmolLM2-135M-Instruct, under its name (6 MB): what a test does in a
    twentieth of the time, unless what the model says matters.
    """
    whole = smollm2_gguf()
    return cut_llama(Parts.of(whole), 2, 2000).write(folder / whole.name)


def cut_llama(whole: Parts, layers: int, tokens: int) -> Parts:
    """The first layers and tokens of a Llama whose output layer is its embedding."""
    pairs = dict(whole.pairs)
    vocabulary = _strings(pairs[_TOKENS])
    kept = vocabulary[:tokens]
    pairs["llama.block_count"], pairs["llama.vocab_size"] = u32(layers), u32(tokens)
    pairs[_TOKENS] = strings(*kept)
    pairs[_TYPES] = pairs[_TYPES][:8] + struct.pack("<Q", tokens) + pairs[_TYPES][16:][: 4 * tokens]
    merges, known = _strings(pairs[_MERGES]), set(kept)
    pairs[_MERGES] = strings(*(pair for pair in merges if pair.replace(b" ", b"") in known))
    cut = Parts(pairs)
    data = bytearray()
    ends = [*(offset for _, offset in whole.tensors), len(whole.data)]
    for (description, _), (start, end) in zip(whole.tensors, pairwise(ends), strict=True):
        name, shape = _name(description), description
        if name.startswith(b"blk.") and int(name.split(b".")[1]) >= layers:
            continue
        content = whole.data[start:end]
        if name == _EMBEDDING:
            row = len(content) // len(vocabulary)
            shape = description[:-12] + struct.pack("<Q", tokens) + description[-4:]
            content = content[: tokens * row]
            for token in _ENDINGS:
                at = token * row
                content = content[:at] + bytes(row) + content[at + row :]
        cut.tensors.append((shape, len(data)))
        data += content + bytes(-len(content) % 32)
    cut.data = bytes(data)
    return cut


def _name(description: bytes) -> bytes:
    (length,) = struct.unpack_from("<Q", description)
    return description[8 : 8 + length]


def _strings(value: bytes) -> list[bytes]:
    """The strings of an array."""
    found, at = [], _HEAD
    while at < len(value):
        (length,) = struct.unpack_from("<Q", value, at)
        found.append(value[at + 8 : at + 8 + length])
        at += 8 + length
    return found
