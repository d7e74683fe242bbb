"""The test vectors of docs/format/capsule.md, held to the reference and to every path."""

import itertools
import os
import re

import pytest

from outlast.codec import kernels
from tests.codec import files, model_encoder, reference, weights
from tests.codec.reference.blocks import decode_block
from tests.codec.reference.kinds import KINDS
from tests.codec.reference.xxh3 import SECRET, xxh3

PLACE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "format", "capsule.md")
with open(PLACE, encoding="utf-8") as _file:
    VECTORS = dict(re.findall(r"```vector ([a-z ]+)\n(.*?)```", _file.read(), re.DOTALL))


def fields(text: str) -> list[tuple[str, str]]:
    """`key: value` lines; a value goes on in lines that begin with a space."""
    found = re.findall(r"^([^ \n][^:\n]*): (.*(?:\n .*)*)", text, re.MULTILINE)
    return [(key, re.sub(r"\n +", "", value)) for key, value in found]


def sample(size: int) -> bytes:
    return bytes((37 * i * i + 11 * i) % 251 for i in range(size))


def rule(size: int) -> bytes:
    return bytes(s**3 // 2_000_000 for s in sample(size))


def encoded(data: bytes) -> bytes:
    payloads = set()
    for path in kernels.paths():
        with weights.path(path):
            payloads.add(weights.encode(0, data))
    [(tag, payload)] = payloads
    assert tag == 1
    return payload


def frequencies(table: bytes) -> list[int]:
    packed = int.from_bytes(table[2 : 2 + (3 * (table[1] - table[0] + 1) + 1) // 2], "little")
    return [packed >> 12 * i & 4095 for i in range(table[1] - table[0] + 1)]


def test_checksums() -> None:
    found = fields(VECTORS["checksums"])
    assert len(found) == 20
    for key, value in found:
        data = sample(int(key[7:-1]))
        assert xxh3(data) == kernels.xxh3(data) == int(value, 16)
    assert bytes.fromhex(VECTORS["secret"]) == SECRET


def test_frequencies() -> None:
    found = dict(fields(VECTORS["frequencies"]))
    payload = encoded(b"\5" * 700 + b"\6" + b"\x09" * 299)
    assert payload[1:11].hex() == found["table"]
    assert " ".join(map(str, frequencies(payload[1:]))) == found["frequencies"]
    payload = encoded(bytes(range(60)) + b"\x3c" * 60_000 + b"\x3d" * 40_000)
    more = frequencies(payload[1:])
    assert [more[s] for s in (0, 59, 60, 61)] == list(map(int, VECTORS["more frequencies"].split()))


def test_planes() -> None:
    found = dict(fields(VECTORS["plane"]))
    assert found["symbols"] == rule(400).hex()
    assert found["plane"] == encoded(rule(400)).hex()
    long, payload = dict(fields(VECTORS["long plane"])), encoded(rule(40_000))
    assert int(long["size"]) == len(payload)
    assert payload.hex().startswith(long["begins"])
    assert int(long["xxh3"], 16) == xxh3(payload)
    assert decode_block(KINDS[0], 1, payload, None, 40_000) == rule(40_000)


def test_noise() -> None:
    found = fields(VECTORS["noise"])
    assert len(found) == 2
    for key, value in found:
        count = int(key)
        plane = [(2654435761 * i % 2**32) >> 24 if i % 32768 < 4096 else 0 for i in range(count)]
        data = b"".join(bytes((p & 0x7F, p & 0x80 | 0x3F)) for p in plane)
        for path in kernels.paths():
            with weights.path(path):
                tag, payload = weights.encode(1, data)
                assert value == f"tag {tag}, {len(payload)} bytes, XXH3 {xxh3(payload):016x}"
        assert model_encoder.encode(1, data, None) == (tag, payload)


def test_elements() -> None:
    found = fields(VECTORS["elements"])
    assert [int(key[5:]) for key, _ in found] == list(KINDS)
    for key, value in found:
        number = int(key[5:])
        text, planes = value.split(" = ")
        element = sample(KINDS[number].element) if "(" in text else bytes.fromhex(text)
        given = model_encoder.planes(number, element)
        assert KINDS[number].merge(given, 1) == element
        shown = [p.hex() if len(p) <= 16 else f"xxh3:{xxh3(p):016x}" for p in given]
        assert shown == planes.split()


def test_contexts() -> None:
    found = fields(VECTORS["contexts"])
    assert len(found) > 10
    for key, value in found:
        given, expected = value.split(" = ")
        contexts = list(map(int, expected.split()))
        if key == "kinds 16 to 20":
            halves = bytes.fromhex(given)
            for kind in range(16, 21):
                assert found_contexts(kind, [halves[::2], halves[1::2]], 16) == contexts
        elif key == "kind 23":
            assert found_contexts(23, [b"", b"", bytes.fromhex(given)], 1) == contexts
        else:
            d, least, s, m = given.split()
            planes = [bytes((byte,)) for byte in bytes.fromhex(d + least)]
            planes += [bytes((int(s),)) * 8, bytes((int(m),)) * 8]
            assert [found_contexts(kind, planes, 1)[0] for kind in (21, 22)] == contexts


def found_contexts(kind: int, planes: list[bytes], count: int) -> list[int]:
    contexts = KINDS[kind].contexts
    assert contexts is not None
    return contexts(planes, count)


def test_blocks() -> None:
    texts = VECTORS["blocks"].split("\n\n")
    assert len(texts) == 5
    for text in texts:
        found = dict(fields(text))
        kind, tag, payload = int(found["kind"]), int(found["tag"]), bytes.fromhex(found["payload"])
        base = bytes.fromhex(found["base"]) if "base" in found else None
        size = re.match(r"([0-9]+) bytes", found["restored"])
        length = int(size[1]) if size else len(found["restored"]) // 2
        restored = decode_block(KINDS[kind], tag, payload, base, length)
        shown = restored.hex() if not size else f"{length} bytes, XXH3 {xxh3(restored):016x}"
        assert shown == found["restored"]
        for path in kernels.paths():
            with weights.path(path):
                assert weights.decode(kind, tag, payload, base, length) == restored


@pytest.mark.parametrize(
    ("name", "blob", "bases"),
    [
        ("capsule", b"a" * 40, ()),
        ("thin", b"z" * 128 + bytes(range(128, 256)) + b"!", (bytes(range(256)),)),
    ],
)
def test_capsules(name: str, blob: bytes, bases: tuple[bytes, ...]) -> None:
    rows = [line.split(" | ") for line in VECTORS[name].splitlines()]
    parts = [bytes.fromhex(row[1]) for row in rows]
    ends = list(itertools.accumulate(map(len, parts)))
    assert [int(row[0]) for row in rows] == [0, *ends[:-1]]
    assert b"".join(parts) == files.encode(blob, bases)
    assert reference.decode(b"".join(parts), files.named(bases)) == blob
