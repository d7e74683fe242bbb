"""Two models compared in full: the ladder from equal files down to tests of moved units."""

import hashlib
import math
from dataclasses import dataclass

from outlast.core.cancel import Cancel
from outlast.core.manifest import Revision
from outlast.features.lineage import statistics
from outlast.features.lineage.likeness import Likeness, likeness, structure
from outlast.features.lineage.proof import Requantised, requantised
from outlast.features.lineage.relative import Bond, EvidenceKind, LineageEvidence
from outlast.features.lineage.tokenizers import tokenizer_likeness
from outlast.features.lineage.tuning import TUNING, Tuning
from outlast.features.lineage.weight_tests import (
    WeightTest,
    WeightTestFound,
    best_log_p,
    weight_tests,
)
from outlast.features.lineage.weights import Weights, weight_files
from outlast.store.archive import Archive

_TESTS = {
    WeightTest.ROWS: "rows at the same places match each other: rho {0:.3f} of {1}, {2} layers",
    WeightTest.UNITS: "hidden units, wherever they stand, have the same signs: {0:.1%} of {1}",
    WeightTest.VALUES: "rows of the values have the same signs: {0:.1%} of {1}, {2} layers",
    WeightTest.SHAPES: "rows of a tensor of the same shape match each other: rho {0:.3f} of {1}",
}


@dataclass(frozen=True, slots=True)
class ComparedWeights:
    """Of a model (the one) and another: the evidence; `bond`, where it needs no p-value, else None;
    `log_p` of all tests together, before Holm, None where there was none. `pruned` as of
    :class:`Likeness`.
    """

    evidence: tuple[LineageEvidence, ...]
    bond: Bond | None
    log_p: float | None
    distance: float
    pruned: int


def compare(
    archive: Archive, one: Weights, other: Weights, *, cancel: Cancel, tuning: Tuning = TUNING
) -> ComparedWeights:
    """All evidence but that of records and merges. Raises what reading blobs raises."""
    if (same := _same_files(one.revision, other.revision)) is not None:
        return ComparedWeights((same,), Bond.SAME, None, 0.0, 0)
    alike = likeness(one, other, cancel=cancel, tuning=tuning)
    bond, found = _proofs(one, other, alike, cancel, tuning)
    seed = _seed(one.revision, other.revision)
    tests = weight_tests(one, other, seed=seed, cancel=cancel, tuning=tuning)
    found += [_test(test) for test in tests]
    found += _figures(one, other, alike)
    found += _words(archive, one.revision, other.revision, tuning)
    distance = 1.0 if alike.cosine is None else max(0.0, 1.0 - alike.cosine)
    log_p = best_log_p(tests) if tests else None
    return ComparedWeights(tuple(found), bond, log_p, distance, alike.pruned)


def _seed(one: Revision, other: Revision) -> int:
    """The same pair gives the same result, in either order."""
    names = sorted((one.digest.hex, other.digest.hex))
    return int.from_bytes(hashlib.sha256("".join(names).encode()).digest()[:8], "little")


def _same_files(one: Revision, other: Revision) -> LineageEvidence | None:
    mine = {entry.sha256 for entry in weight_files(one)}
    if not mine or mine != {entry.sha256 for entry in weight_files(other)}:
        return None
    return LineageEvidence(EvidenceKind.FILES, "the files of weights are the same (SHA-256)")


def _proofs(
    one: Weights, other: Weights, alike: Likeness, cancel: Cancel, tuning: Tuning
) -> tuple[Bond | None, list[LineageEvidence]]:
    """What needs no p-value: equal tensors, and weights that are quantised again."""
    found: list[LineageEvidence] = []
    bond: Bond | None = None
    proofs = {
        Bond.PARENT: requantised(other, one, cancel=cancel, tuning=tuning),
        Bond.CHILD: requantised(one, other, cancel=cancel, tuning=tuning),
    }
    there = [(way, proof) for way, proof in proofs.items() if proof is not None]
    if there:
        way, proof = there[0]
        both = proof.both_ways or len(there) == 2
        bond = Bond.RELATED if both else way
        found.append(_requantised(proof, way, both=both))
    if alike.equal.hashed:
        equal = alike.equal
        text = f"{equal.hashed} of {equal.of} matrices are the same (SHA-256)"
        more = equal.sampled - equal.hashed
        text += f", {more} more in their samples" if more else ""
        found.append(LineageEvidence(EvidenceKind.TENSORS, text, value=equal.sampled / equal.of))
        bond = bond or Bond.RELATED
    return bond, found


def _requantised(proof: Requantised, way: Bond, *, both: bool) -> LineageEvidence:
    whose = "its weights" if way is Bond.PARENT else "the weights of the model"
    verb = "rounded" if proof.dtype in ("BF16", "F16") else "quantised"
    through = f" through {proof.way}" if proof.way else ""
    text = f"proof: {whose}, {verb} to {proof.dtype}{through}, give the same bytes in "
    text += f"{proof.equal} of {proof.blocks} sampled blocks"
    if both:
        text += "; and the other way round"
    return LineageEvidence(EvidenceKind.REQUANTISED, text, value=proof.share)


def _test(test: WeightTestFound) -> LineageEvidence:
    text = _TESTS[test.test].format(test.statistic, test.count, test.layers)
    text += f", p = {statistics.written(test.log_p)}"
    return LineageEvidence(EvidenceKind(test.test.value), text, test.log_p, test.statistic)


def _figures(one: Weights, other: Weights, alike: Likeness) -> list[LineageEvidence]:
    found = []
    if alike.cosine is not None:
        bits = "" if alike.bits is None else f", {alike.bits:.1%} of bits differ"
        text = f"cosine of sampled rows {alike.cosine:.4f}{bits}"
        found.append(LineageEvidence(EvidenceKind.DISTANCE, text, value=alike.cosine))
    if alike.rank is not None:
        text = f"the difference has a rank of about {alike.rank}, as a merged adapter leaves it"
        found.append(LineageEvidence(EvidenceKind.RANK, text, value=float(alike.rank)))
    if alike.pruned:
        which = "the model has" if alike.pruned > 0 else "it has"
        text = f"{which} zeros in place of weights of the other, and else the same"
        found.append(LineageEvidence(EvidenceKind.PRUNED, text))
    if alike.vocabulary is not None:
        text = (
            f"the embeddings agree, and have {alike.vocabulary[0]} and {alike.vocabulary[1]} rows"
        )
        found.append(LineageEvidence(EvidenceKind.VOCABULARY, text))
    mine, theirs = structure(one), structure(other)
    text = mine if mine == theirs else f"{mine} | {theirs}"
    found.append(LineageEvidence(EvidenceKind.STRUCTURE, text))
    return found


def _words(
    archive: Archive, one: Revision, other: Revision, tuning: Tuning
) -> list[LineageEvidence]:
    alike = tokenizer_likeness(archive, one, other, tuning)
    if alike is None:
        return []
    found = []
    if alike.same:
        found.append(LineageEvidence(EvidenceKind.TOKENIZER, "the same tokenizer", value=1.0))
    elif alike.shared is not None:
        text = f"{alike.shared:.1%} of the tokens have the same number"
        found.append(LineageEvidence(EvidenceKind.TOKENIZER, text, value=alike.shared))
    if alike.template is not None:
        text = "the same chat template" if alike.template else "another chat template"
        found.append(LineageEvidence(EvidenceKind.TEMPLATE, text))
    return found


def is_significant(log_p: float | None, tuning: Tuning = TUNING) -> bool:
    """Whether an adjusted p-value is below the bound."""
    return log_p is not None and log_p < math.log(tuning.alpha)
