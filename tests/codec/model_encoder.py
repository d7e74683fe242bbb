"""An encoder of blocks in plain Python, as part II of docs/format/capsule.md says it: the sections
are named. It shares with the package what a decoder knows anyway: contexts and shapes of kinds.
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from tests.codec.reference.kinds import KINDS

STORED, PLANES, SAME, DIFFERENCE, LEAVES = range(5)
_EXPONENTS: Final = {1: (7, 255), 2: (10, 31), 3: (23, 255), 4: (3, 15), 5: (2, 31)}
_NOISY: Final = {(1, 1), (2, 1), (3, 1), (3, 2), (3, 3)}
_HALVES: Final = {17: 1, 18: 2, 19: 1, 20: 2}


# ---------------------------------------------------------------- section 2: planes of elements


def _legacy(kind: int, e: bytes) -> list[bytes]:
    halves = 2 * _HALVES[kind]
    n = e[-16:]
    m = int.from_bytes(e[halves : halves + 4], "little") if kind in {19, 20} else 0
    low = [n[i] & 15 | (m >> i & 1) << 4 for i in range(16)]
    high = [n[i] >> 4 | (m >> (16 + i) & 1) << 4 for i in range(16)]
    return [*(e[p ^ 1 : (p ^ 1) + 1] for p in range(halves)), bytes(low + high)]


def _k(kind: int, e: bytes) -> list[bytes]:
    s, n = e[4:16], e[-128:]
    h = e[16:48] if kind == 22 else bytes(32)
    scales = [s[j] & 63 for j in range(4)] + [s[8 + j] & 15 | s[j] >> 6 << 4 for j in range(4)]
    minima = [s[4 + j] & 63 for j in range(4)]
    minima += [s[8 + j] >> 4 | s[4 + j] >> 6 << 4 for j in range(4)]
    weights = bytearray(256)
    for k in range(4):
        for i in range(32):
            weights[64 * k + i] = n[32 * k + i] & 15 | (h[i] >> 2 * k & 1) << 4
            weights[64 * k + 32 + i] = n[32 * k + i] >> 4 | (h[i] >> (2 * k + 1) & 1) << 4
    halves = [e[p ^ 1 : (p ^ 1) + 1] for p in range(4)]
    return [*halves, bytes(scales), bytes(minima), bytes(weights)]


def _q6_k(e: bytes) -> list[bytes]:
    low, high, weights = e[:128], e[128:192], bytearray(256)
    for g in range(2):
        for i in range(32):
            h = high[32 * g + i]
            weights[128 * g + i] = low[64 * g + i] & 15 | (h & 3) << 4
            weights[128 * g + 32 + i] = low[64 * g + 32 + i] & 15 | (h >> 2 & 3) << 4
            weights[128 * g + 64 + i] = low[64 * g + i] >> 4 | (h >> 4 & 3) << 4
            weights[128 * g + 96 + i] = low[64 * g + 32 + i] >> 4 | h >> 6 << 4
    return [e[209:], e[208:209], e[192:208], bytes(weights)]


def _of_element(kind: int, e: bytes) -> list[bytes]:
    v = int.from_bytes(e, "little")
    if kind == 1:
        return [bytes((v >> 7 & 255,)), bytes((v >> 8 & 0x80 | v & 0x7F,))]
    if kind == 3:
        return [
            bytes((v >> 23 & 255, v >> 24 & 0x80 | v >> 16 & 0x7F))[p : p + 1] for p in (0, 1)
        ] + [
            e[1:2],
            e[0:1],
        ]
    if kind < 16:
        return [e[p : p + 1] for p in reversed(range(len(e)))]
    if kind == 16:
        return [e[1:2], e[0:1], e[2:]]
    if kind == 23:
        return _q6_k(e)
    return _legacy(kind, e) if kind < 21 else _k(kind, e)


def planes(kind: int, data: bytes) -> list[bytes]:
    """All planes of whole elements."""
    size = KINDS[kind].element
    each = [_of_element(kind, data[at : at + size]) for at in range(0, len(data), size)]
    return [b"".join(symbols) for symbols in zip(*each, strict=True)]


# ---------------------------------------------------------------- sections 17, 18: frequencies


def frequencies(counts: Counter[int]) -> dict[int, int]:
    total = counts.total()
    found = {s: counts[s] * 4096 // total or 1 for s in sorted(counts)}
    while sum(found.values()) < 4096:
        found[max(found, key=lambda s: (Fraction(counts[s], found[s]), -s))] += 1
    while sum(found.values()) > 4096:
        rich = (s for s in found if found[s] > 1)
        found[min(rich, key=lambda s: (Fraction(counts[s], found[s] - 1), s))] -= 1
    return found


def _cost(f: int) -> int:
    whole = f.bit_length() - 1
    m, logarithm = f << (31 - whole), whole
    for _ in range(8):
        m = m * m >> 31
        bit = m >> 32
        logarithm = 2 * logarithm + bit
        m >>= bit
    return 3072 - logarithm


COSTS: Final = [0, *map(_cost, range(1, 4097))]


def estimate(counts: Counter[int], found: dict[int, int]) -> int:
    """Bytes."""
    return -(-sum(counts[s] * COSTS[found[s]] for s in counts) // 2048)


def pays(a: int, b: int) -> bool:
    return a <= b - b // 64


# ---------------------------------------------------------------- sections 16, 19: planes


def _lanes(count: int) -> int:
    return 64 if count < 32768 else 128


def plan(symbols: bytes, *, whole: bool = True) -> tuple[str, int]:
    counts = Counter(symbols)
    if len(counts) == 1:
        return "constant", 2
    table = 2 + (3 * (max(counts) - min(counts) + 1) + 1) // 2
    size = 5 + 4 * _lanes(len(symbols)) + table + estimate(counts, frequencies(counts))
    return ("raw", 1 + len(symbols)) if whole and not pays(size, len(symbols)) else ("rans", size)


def _rans(symbols: bytes) -> bytes:
    found = frequencies(Counter(symbols))
    first, last = min(found), max(found)
    packed, start, starts = 0, 0, {}
    for s in range(first, last + 1):
        f = found.get(s, 0)
        packed |= f << 12 * (s - first)
        starts[s] = start
        start += f
    table = bytes((first, last)) + packed.to_bytes((3 * (last - first + 1) + 1) // 2, "little")
    states, words = [65536] * _lanes(len(symbols)), []
    for i in range(len(symbols) - 1, -1, -1):
        lane, f = i % len(states), found[symbols[i]]
        x = states[lane]
        if x >= f << 20:
            words.append((x & 0xFFFF).to_bytes(2, "little"))
            x >>= 16
        states[lane] = x // f * 4096 + x % f + starts[symbols[i]]
    body = b"".join(x.to_bytes(4, "little") for x in states) + b"".join(reversed(words))
    return b"\2" + table + len(words).to_bytes(4, "little") + body


def _write(symbols: bytes, coding: str, *, whole: bool) -> bytes:
    if coding == "constant":
        return b"\1" + symbols[:1]
    if coding == "rans":
        coded = _rans(symbols)
        if not whole or len(coded) <= len(symbols):
            return coded
    return b"\0" + symbols


def _noisy(symbols: bytes) -> bool:
    if len(symbols) < 65536:
        return False
    seen = b"".join(symbols[at : at + 4096] for at in range(0, len(symbols), 32768))
    counts = Counter(seen)
    return not pays(estimate(counts, frequencies(counts)), len(seen))


def plane(
    symbols: bytes,
    *,
    whole: bool = True,
    noisy: bool = False,
    contexts: Sequence[int] = (),
    run: int = 1,
) -> bytes:
    if noisy and _noisy(symbols):
        return b"\0" + symbols
    coding, size = plan(symbols, whole=whole)
    if contexts:
        parts = [
            b"".join(
                symbols[i * run : (i + 1) * run] for i, c in enumerate(contexts) if c == context
            )
            for context in sorted(set(contexts))
        ]
        plans = [plan(part, whole=whole) for part in parts]
        if size > 1 + sum(each for _, each in plans):
            written = (
                _write(part, each, whole=whole)
                for part, (each, _) in zip(parts, plans, strict=True)
            )
            return b"\3" + b"".join(written)
    return _write(symbols, coding, whole=whole)


# ---------------------------------------------------------------- sections 6, 15: blocks


def _all_planes(kind: int, data: bytes) -> bytes:
    shape, found, out = KINDS[kind], planes(kind, data), b""
    for p, (symbols, of) in enumerate(zip(found, shape.planes, strict=True)):
        contexts = (
            shape.contexts(found, len(data) // shape.element) if shape.contexts and of.run else ()
        )
        noisy = (kind, p) in _NOISY
        out += plane(symbols, whole=of.whole, noisy=noisy, contexts=contexts, run=of.run or 1)
    return out


def _numbers(data: bytes, width: int) -> list[int]:
    return [int.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width)]


def _ordered(v: int, bits: int) -> int:
    return (1 << bits) - 1 - v if v >> (bits - 1) else v | 1 << (bits - 1)


def _zigzag(v: int, b: int, bits: int) -> int:
    t = (_ordered(v, bits) - _ordered(b, bits)) % (1 << bits)
    return 2 * t if t < 1 << (bits - 1) else 2 * ((1 << bits) - t) - 1


def _difference(kind: int, data: bytes, base: bytes) -> bytes:
    width, (shift, mask) = KINDS[kind].element, _EXPONENTS[kind]
    theirs = _numbers(base, width)
    exponents = [b >> shift & mask for b in theirs]
    top = next(t for t in range(255, -1, -1) if 64 * sum(e >= t for e in exponents) >= len(theirs))
    contexts = [max(0, min(7, top - e)) for e in exponents]
    z = [_zigzag(v, b, 8 * width) for v, b in zip(_numbers(data, width), theirs, strict=True)]
    out = bytes((top,))
    if width == 2:
        far = [each for each in z if each >= 255]
        out += plane(bytes(min(255, each) for each in z), contexts=contexts)
        out += len(far).to_bytes(4, "little")
        if far:
            out += plane(bytes(each >> 8 for each in far)) + plane(
                bytes(each & 255 for each in far)
            )
        return out
    for p in range(width):
        symbols = bytes(each >> 8 * (width - 1 - p) & 255 for each in z)
        out += plane(symbols, contexts=contexts if p < 3 else ())
    return out


def _group(kind: int, data: bytes, base: bytes | None) -> tuple[int, bytes]:
    if base is not None and kind in _EXPONENTS:
        tag, best = DIFFERENCE, _difference(kind, data, base)
        if len(best) > len(data) // 2:
            other = _all_planes(kind, data)
            if len(other) < len(best):
                tag, best = PLANES, other
    else:
        tag, best = PLANES, _all_planes(kind, data)
    return (tag, best) if pays(len(best), len(data)) else (STORED, data)


def _leaves(data: bytes, base: bytes | None, step: int, marks: Sequence[bool], kind: int) -> bytes:
    def of(mark: bool, whole: bytes) -> bytes:
        return b"".join(whole[i * step : (i + 1) * step] for i, m in enumerate(marks) if m == mark)

    tag, payload = _group(kind, of(False, data), None if base is None else of(False, base))
    if base is None:
        other, rest = _group(kind, of(True, data), None)
    else:
        other, rest = SAME, b""
    mask = sum(m << i for i, m in enumerate(marks)).to_bytes((len(marks) + 7) // 8, "little")
    return bytes((tag, other)) + len(payload).to_bytes(4, "little") + mask + payload + rest


def encode(kind: int, data: bytes, base: bytes | None) -> tuple[int, bytes]:
    """The tag and payload of a block, without the checksum of what it restores."""
    if data == base:
        return SAME, b""
    step = KINDS[kind].leaf * KINDS[kind].element
    starts = range(0, len(data), step)
    marks = [False] * len(starts)
    if base is not None:
        marks = [data[at : at + step] == base[at : at + step] for at in starts]
    elif kind == 3:
        marks = [not any(data[at : at + step : 4]) for at in starts]
    factor = 64 if base is None else 8
    if 0 < sum(marks) < len(marks) and sum(marks) * factor >= len(marks):
        tag, payload = LEAVES, _leaves(data, base, step, marks, kind)
    else:
        tag, payload = _group(kind, data, base)
    return (tag, payload) if pays(len(payload), len(data)) else (STORED, data)
