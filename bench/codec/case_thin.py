"""Fine-tunes against their base, and five edits of a model."""

from functools import partial
from pathlib import Path

from bench.codec import edits, finetune
from bench.codec.lab import DECODE, ENCODE, Blob, Lab, rounded, speed_row, weights
from bench.rows import Row, Target

_BITX, _BOUND = "BitX", "order-0 bound of the XOR"
_PAIRS = {
    "15": ("15 steps", False),
    "60": ("60 steps", True),
    "x8": ("60 steps, 8-fold", True),
    "x40": ("60 steps, 40-fold", False),
}
_TO_BEAT = ("tensors", "CDC 64 KiB", "hf_xet")


def thin(lab: Lab) -> list[Row]:
    """Pairs that were really trained, bf16. 20 % smaller is a ratio 1.25 times as high."""
    rows: list[Row] = []
    base = weights(finetune.base)
    for name, (title, targeted) in _PAIRS.items():
        tuned = weights(partial(finetune.tuned, name))
        blob = Blob(f"fine-tune, {title},", tuned, "bf16", base)
        rows += _pair(lab, blob, targeted=targeted)
    return rows


def _pair(lab: Lab, blob: Blob, *, targeted: bool) -> list[Row]:
    figures = lab.measure(blob, [_BITX])
    ratios, path = figures.ratios(), lab.paths[0]
    ours, theirs = ratios[path], ratios[_BITX]
    smaller, faster = (Target("≥", 1.25), Target("≥", 3.0)) if targeted else (None, None)
    what = f"{blob.title} ratio"
    beside = {_BITX: rounded(theirs), _BOUND: rounded(lab.bound(blob))}
    by = ours / theirs
    holds = smaller.holds(by) if smaller else None
    return [
        Row(what, "x", rounded(ours), beside, rounded(by), str(smaller or ""), holds),
        *(
            speed_row(f"{blob.title} {direction}", figures.speeds[direction], path, _BITX, target)
            for direction, target in ((DECODE, faster), (ENCODE, None))
        ),
    ]


def dedup(lab: Lab) -> list[Row]:
    """What is found of an edited model in the one it was made from. Ours is what the delta capsules
    save in all, headers and indexes of their own counted; the peers' are the bytes they recognise.
    """
    base = weights(finetune.base)
    with lab.scratch() as folder:
        return [_edited(lab, name, base, files) for name, files in edits.make(Path(folder)).items()]


def _edited(lab: Lab, name: str, base: Path, files: list[Path]) -> Row:
    found: dict[str, float] = lab.peers.ask("found", str(base), list(map(str, files)))
    packed = sum(_packed(lab, base, file) for file in files)
    ours = 100 - 100 * packed / sum(file.stat().st_size for file in files)
    best = max(found[peer] for peer in _TO_BEAT)
    beside = {peer: rounded(value) for peer, value in found.items()}
    target, by = Target("≥", 1.0), ours / best
    what = f"dedup, {name}: saved"
    return Row(what, "%", rounded(ours), beside, rounded(by), str(target), target.holds(by))


def _packed(lab: Lab, base: Path, file: Path) -> int:
    lab.ours.ask("load", str(file), "bf16", str(base))
    return int(lab.ours.ask("pack", lab.paths[0]))
