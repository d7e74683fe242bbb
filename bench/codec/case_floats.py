"""bf16, fp16 and fp32 weights: size and speed beside the peers."""

from pathlib import Path

from bench.codec.lab import DECODE, ENCODE, Blob, Figures, Lab, speed_row, value_row, weights
from bench.rows import Row, Target
from tests import realweights

_ZIPNN, _MEMCPY, _BOUND = "zipnn", "memcpy", "order-0 bound"
_OTHERS = (_ZIPNN, "OpenZL Huffman", "OpenZL FSE", "lmz", "zstd -3")
_ALL = (_MEMCPY, *_OTHERS, "zstd -1", "zstd -9", "byte planes + zstd -1")
_WIDEST = "avx512"
_DECODE_TARGETS = {_WIDEST: 3.0, "avx2": 2.0}


def bf16(lab: Lab) -> list[Row]:
    """MiniLM rounded to bf16: every peer, every SIMD path."""
    blob = Blob("bf16 MiniLM", weights(realweights.minilm_bf16), "bf16")
    figures = lab.measure(blob, _ALL, all_paths=True)
    rows = [_ratio(lab, blob, figures, 1.505)]
    rows += [
        _speed(lab, blob, figures, (DECODE, path), _DECODE_TARGETS.get(path))
        for path in dict.fromkeys((*_DECODE_TARGETS, *lab.paths))
    ]
    copied = {
        name: samples
        for name, samples in figures.speeds[DECODE].items()
        if name in (_WIDEST, _MEMCPY)
    }
    what = f"{blob.title} {DECODE}, {_WIDEST}, by memcpy"
    rows.append(speed_row(what, copied, _WIDEST, _MEMCPY, Target("≥", 0.4)))
    rows += [
        _speed(lab, blob, figures, (ENCODE, path), 3.0 if path == lab.paths[0] else None)
        for path in lab.paths
    ]
    return rows


def fp16(lab: Lab) -> list[Row]:
    """Whisper base, and its largest tensor alone."""
    whole = Blob("fp16 Whisper", weights(realweights.whisper_fp16), "fp16")
    return _others(lab, whole, "decoder/embeddings/weight", 1.242)


def fp32(lab: Lab) -> list[Row]:
    """MiniLM as it was published, and its largest tensor alone."""
    whole = Blob("fp32 MiniLM", weights(realweights.minilm_fp32), "fp32")
    return _others(lab, whole, "embeddings.word_embeddings.weight", 1.23)


def _others(lab: Lab, whole: Blob, name: str, target: float) -> list[Row]:
    figures = lab.measure(whole, _OTHERS)
    rows = [_ratio(lab, whole, figures, target)]
    with lab.scratch() as folder:
        alone = Path(folder) / "alone.safetensors"
        tensor = realweights.read_safetensors(whole.path)[name]
        realweights.write_safetensors(alone, {name: tensor})
        blob = Blob(f"{whole.title}, its embedding alone,", alone, whole.dtype)
        rows.append(_ratio(lab, blob, lab.measure(blob, _OTHERS), target))
    fastest = lab.paths[0]
    rows += [_speed(lab, whole, figures, (way, fastest), None) for way in (DECODE, ENCODE)]
    return rows


def _ratio(lab: Lab, blob: Blob, figures: Figures, target: float) -> Row:
    ratios = figures.ratios()
    ours = ratios[lab.paths[0]]
    for name in (*lab.paths, _MEMCPY):
        ratios.pop(name, None)
    beside = {_BOUND: lab.bound(blob)} | ratios
    bound = Target("≥", target, absolute=True)
    return value_row(f"{blob.title} ratio", "x", ours, beside, bound, note=figures.note())


def _speed(
    lab: Lab, blob: Blob, figures: Figures, which: tuple[str, str], target: float | None
) -> Row:
    direction, path = which
    samples = {
        name: values
        for name, values in figures.speeds[direction].items()
        if name == path or name not in lab.paths
    }
    bound = Target("≥", target) if target else None
    return speed_row(f"{blob.title} {direction}, {path}", samples, path, _ZIPNN, bound)
