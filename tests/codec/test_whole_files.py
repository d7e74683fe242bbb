"""Whole files: every dtype, full and thin, from the first byte to what trails."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec import format as fmt
from outlast.codec import kernels
from outlast.codec.claims import BLOCKS
from outlast.codec.layout import KINDS
from outlast.codec.memory import InMemory
from outlast.codec.writer import Base, CapsuleWriter
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, MalformedError
from tests.campaign import examples
from tests.codec import files, reference, weights

PATHS = kernels.paths()
STYLES = st.sampled_from(tuple(weights.STYLES))


def check(blob: bytes, bases: tuple[bytes, ...] = ()) -> bytes:
    """Encodes on every path, decodes on every path and by the reference; returns the capsule."""
    capsules = set()
    for path in PATHS:
        with weights.path(path):
            capsules.add(files.encode(blob, bases))
    [capsule] = capsules
    for path in PATHS:
        with weights.path(path):
            opened = files.reader(capsule, bases)
            assert files.read(opened, 0, len(blob)) == blob
            assert not list(opened.damage())
    assert reference.decode(capsule, files.named(bases)) == blob
    assert reference.verify(capsule, files.named(bases)) == []
    return capsule


def kinds(capsule: bytes) -> list[int]:
    return [span.kind for span in files.reader(capsule).directory.spans]


def delta_bytes(capsule: bytes) -> int:
    """Bytes of the blob in spans that have a base."""
    return sum(span.length for span in files.reader(capsule).directory.spans if span.base)


@pytest.mark.parametrize("dtype", files.SAFETENSORS)
@examples(6)
@given(
    count=st.sampled_from((0, 1, 2, 7, 128, 129, 500)),
    style=STYLES,
    pad=st.integers(0, 7),
    gaps=st.lists(st.binary(max_size=5), max_size=3),
    trailing=st.binary(max_size=9),
    seed=st.integers(0, 1 << 32),
)
def test_safetensors(
    *,
    dtype: str,
    count: int,
    style: str,
    pad: int,
    gaps: list[bytes],
    trailing: bytes,
    seed: int,
) -> None:
    rng = random.Random(seed)
    tensors = {
        name: (dtype, shape, files.filled(rng, dtype, shape, style))
        for name, shape in (("a", (count,)), ("b", (3, count)), ("one", ()))
    }
    capsule = check(files.of_safetensors(tensors, gaps, trailing, pad))
    assert KINDS.get(dtype, fmt.BYTES) in kinds(capsule)


@pytest.mark.parametrize("dtype", files.GGUF)
@examples(4)
@given(
    count=st.sampled_from((0, 1, 2, 5, 17, 40)),
    style=STYLES,
    trailing=st.binary(max_size=40),
    seed=st.integers(0, 1 << 32),
)
def test_gguf(dtype: str, count: int, style: str, trailing: bytes, seed: int) -> None:
    rng, (block, size) = random.Random(seed), BLOCKS[dtype]
    count = min(count, 3000 // size)
    tensors = {
        name: (dtype, shape, files.filled(rng, dtype, shape, style))
        for name, shape in (("a", (count * block,)), ("b", (2, block)))
    }
    capsule = check(files.of_gguf(tensors, trailing))
    assert KINDS.get(dtype, fmt.BYTES) in kinds(capsule)


def test_every_dtype_in_one_file() -> None:
    rng = random.Random(5)
    tensors: files.Tensors = {
        d: (d, (150,), files.filled(rng, d, (150,), "skewed")) for d in files.SAFETENSORS
    }
    capsule = check(files.of_safetensors(tensors, [b"", b"?"], b"end", 3))
    assert set(kinds(capsule)) == {kind for kind in weights.KINDS if kind < fmt.Q8_0}
    tensors = {d: (d, (2, 512), files.filled(rng, d, (2, 512), "skewed")) for d in files.GGUF}
    capsule = check(files.of_gguf(tensors))
    assert set(kinds(capsule)) >= {kind for kind in weights.KINDS if kind >= fmt.Q8_0}


@given(blob=st.binary(max_size=600), base=st.none() | st.binary(max_size=600))
def test_opaque_files(blob: bytes, base: bytes | None) -> None:
    check(blob, () if base is None else (base,))
    check(blob, (blob,))


@pytest.mark.parametrize("blob", [b"", b"a", bytes(300_000), bytes(range(256)) * 1025])
def test_sizes_of_opaque_files(blob: bytes) -> None:
    check(blob)
    capsule = check(blob, (blob,))
    assert delta_bytes(capsule) == len(blob)


# ---------------------------------------------------------------- delta capsules


def model(seed: int, dtype: str = "BF16", rows: int = 40) -> files.Tensors:
    rng = random.Random(seed)
    shapes = {"embed": (rows, 64), "up": (30, 50), "down": (50, 30), "norm": (64,), "scale": ()}
    return {
        name: (dtype, shape, files.filled(rng, dtype, shape, "skewed"))
        for name, shape in shapes.items()
    }


def tuned(tensors: files.Tensors, seed: int) -> files.Tensors:
    """Some tensors moved a little, some not at all."""
    rng = random.Random(seed)
    made = {}
    for name, (dtype, shape, raw) in tensors.items():
        like = "equal" if name == "down" else "near"
        made[name] = (dtype, shape, weights.BASES[like](rng, KINDS[dtype], raw) or b"")
    return made


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F8_E4M3", "F8_E5M2", "I32", "U8"])
def test_a_fine_tune(dtype: str) -> None:
    if dtype == "U8":
        ours = {n: (dtype, s, bytes(r[::2])) for n, (_, s, r) in model(1).items()}
        theirs = {n: (d, s, bytes(b ^ 1 for b in r)) for n, (d, s, r) in ours.items()}
    else:
        ours = dict(model(1, dtype))
        theirs = dict(tuned(ours, 2))
    base, blob = files.of_safetensors(ours), files.of_safetensors(theirs, [b"~"], b"!", 1)
    thin, full = check(blob, (base,)), files.encode(blob)
    assert delta_bytes(thin) == sum(len(raw) for _, _, raw in theirs.values())
    if dtype in {"BF16", "F16", "F32"}:
        assert len(thin) < len(full)


def test_a_resharded_fine_tune_depends_on_every_shard() -> None:
    ours = model(3)
    names = list(ours)
    shards = tuple(
        files.of_safetensors({name: ours[name] for name in part}, pad=len(part))
        for part in (names[:1], names[1:3], names[3:])
    )
    capsule = check(files.of_safetensors(tuned(ours, 4)), shards)
    assert {span.base for span in files.reader(capsule).directory.spans} == {0, 1, 2, 3}
    merged = check(files.of_safetensors({n: ours[n] for n in reversed(names)}), shards)
    blocks = [b for b in files.reader(merged).directory.blocks() if b.base]
    # Below 9 bytes a block that is its base costs more than its bytes.
    assert {b.tag for b in blocks} == {fmt.SAME, fmt.STORED}
    assert all(b.length < 9 for b in blocks if b.tag == fmt.STORED)


@pytest.mark.parametrize("rows", [30, 41, 80])
def test_a_grown_or_shrunk_vocabulary(rows: int) -> None:
    ours = model(5)
    other = dict(tuned(ours, 6))
    dtype, (_, width), raw = other["embed"]
    raw = (raw + random.Random(1).randbytes(2 * width * rows))[: 2 * width * rows]
    other["embed"] = (dtype, (rows, width), raw)
    capsule = check(files.of_safetensors(other), (files.of_safetensors(ours),))
    total = sum(len(raw) for _, _, raw in other.values())
    assert delta_bytes(capsule) == total - max(0, rows - 40) * 2 * width


def test_tensors_of_another_name_dtype_or_shape_are_no_bases() -> None:
    ours = dict(model(7))
    base = files.of_safetensors(ours)
    dtype, (rows, width), raw = ours["embed"]
    ours["embed"] = (dtype, (width, rows), raw)
    ours["up"] = ("F16", *ours["up"][1:])
    ours["other"] = ours.pop("norm")
    capsule = check(files.of_safetensors(ours), (base,))
    assert delta_bytes(capsule) == sum(len(ours[name][2]) for name in ("down", "scale"))


def test_the_first_base_of_a_name_counts() -> None:
    ours = model(8)
    near, other = files.of_safetensors(ours), files.of_safetensors(model(9))
    blob = files.of_safetensors(tuned(ours, 1))
    assert len(check(blob, (near, other))) < len(check(blob, (other, near)))


def test_gguf_finds_its_bases_by_name() -> None:
    rng = random.Random(10)
    ours = {d: (d, (2, 512), files.filled(rng, d, (2, 512), "skewed")) for d in files.GGUF}
    base = files.of_gguf(ours)
    theirs = {}
    for name, (dtype, shape, raw) in ours.items():
        kind = KINDS.get(dtype, fmt.BYTES)
        theirs[name] = (dtype, shape, weights.BASES["leaves changed"](rng, kind, raw) or b"")
    thin = check(files.of_gguf(theirs, b"end"), (base,))
    assert len(thin) < len(files.encode(files.of_gguf(theirs, b"end")))


def test_a_damaged_base_is_found() -> None:
    ours = model(11)
    base, blob = files.of_safetensors(ours), files.of_safetensors(tuned(ours, 12))
    capsule = files.encode(blob, (base,))
    for at in range(len(base) - 6000, len(base), 97):
        wrong = bytearray(base)
        wrong[at] ^= 1 << at % 8
        opened = files.reader(capsule, (base,))
        for block in opened.directory.blocks():
            refs = {opened.directory.bases[0].sha256: InMemory(wrong)}
            bad = fmt.needs_base(block.tag, block.base)
            bad = bad and block.base_offset <= at < block.base_offset + block.length
            other = type(opened)(InMemory(capsule), refs)
            if not bad:
                got = files.read(other, block.offset, block.length)
                assert got == blob[block.offset : block.offset + block.length]
                continue
            with pytest.raises((CorruptError, MalformedError), match=f"block {block.number} "):
                files.read(other, block.offset, block.length)
        named = {opened.directory.bases[0].sha256.hex: bytes(wrong)}
        assert reference.verify(capsule, named) != [] or bytes(wrong) == base


# ---------------------------------------------------------------- any range, any pace


def several() -> tuple[bytes, bytes]:
    """A blob of some 200 blocks of all lengths, and its base."""
    rng, ours = random.Random(13), {}
    for i in range(60):
        dtype = rng.choice(("BF16", "F32", "U8", "I64", "F8_E4M3"))
        shape = (rng.randrange(1, 300),)
        ours[f"t{i}"] = (dtype, shape, files.filled(rng, dtype, shape, "skewed"))
    ours["long"] = ("U8", (600_000,), rng.randbytes(600_000))
    theirs = {
        name: (dtype, shape, weights.BASES["few changed"](rng, KINDS.get(dtype, 0), raw) or b"")
        for name, (dtype, shape, raw) in ours.items()
    }
    return files.of_safetensors(theirs, [b"", b"gap"], b"end"), files.of_safetensors(ours)


SEVERAL, ITS_BASE = several()
THIN, FULL = files.encode(SEVERAL, (ITS_BASE,)), files.encode(SEVERAL)


@given(data=st.data(), thin=st.booleans())
def test_any_range(data: st.DataObject, thin: bool) -> None:
    capsule, bases = (THIN, (ITS_BASE,)) if thin else (FULL, ())
    opened = files.reader(capsule, bases)
    offset = data.draw(st.integers(0, len(SEVERAL)))
    length = min(data.draw(st.integers(0, 40_000)), len(SEVERAL) - offset)
    expected = SEVERAL[offset : offset + length]
    assert files.read(opened, offset, length) == expected
    if length < 5000:
        assert reference.decode_range(capsule, offset, length, files.named(bases)) == expected


@pytest.mark.parametrize("capsule", [THIN, FULL])
def test_a_range_touches_only_its_blocks(capsule: bytes) -> None:
    touched: list[tuple[int, int]] = []

    class Watched(InMemory):
        def view(self, offset: int, length: int) -> memoryview:
            touched.append((offset, offset + length))
            return super().view(offset, length)

    bases = {Digest.of(ITS_BASE): InMemory(ITS_BASE)}
    opened = type(files.reader(FULL))(Watched(capsule), bases)
    for number in range(0, opened.directory.block_count, 7):
        block = opened.directory.block(number)
        touched.clear()
        files.read(opened, block.offset + block.length // 2, 1)
        assert touched == [(block.payload_offset, block.payload_offset + block.payload_length)]


@given(steps=st.lists(st.integers(1, 100_000), max_size=12), threads=st.booleans())
def test_the_pace_of_the_bytes_does_not_matter(steps: list[int], threads: bool) -> None:
    out = bytearray()
    bases = [Base(Digest.of(ITS_BASE), InMemory(ITS_BASE))]
    with ThreadPoolExecutor(3) as pool:
        executor = pool if threads else None
        writer = CapsuleWriter(InMemory(SEVERAL), out.extend, bases=bases, executor=executor)
        at = 0
        for step in steps:
            at = min(at + step, len(SEVERAL))
            writer.advance(at)
        writer.finish(Digest.of(SEVERAL))
    assert out == THIN
