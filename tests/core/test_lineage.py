"""Lineage records: one spelling, bounds, and what a statement says of one."""

from dataclasses import replace

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import MalformedError, OutlastError
from outlast.core.names import RepoId
from outlast.core.records.lineage import (
    MAX_LINEAGE,
    AncestorRole,
    LineageRecord,
    MadeFrom,
    Making,
    WeightsForm,
    lineage_statement,
    read_lineage_statement,
)

BASE = MadeFrom(
    RepoId.parse("org/base"),
    Digest("ab" * 32),
    GitOid("cd" * 20),
    AncestorRole.BASE,
    WeightsForm.DEQUANTISED,
    "model.Q4_1.gguf",
)
RECORD = LineageRecord(
    Making.ADAPTER,
    (BASE,),
    data=Digest("01" * 32),
    tokenizer=Digest("02" * 32),
    parameters={"rank": 8, "rate": 2e-4, "targets": "all-linear"},
    versions={"torch": "2.13.0"},
    metrics={"loss": 1.25, "steps": 3},
    seed=7,
)


def test_a_record_is_what_it_was() -> None:
    assert LineageRecord.from_bytes(RECORD.to_bytes()) == RECORD
    plain = LineageRecord(Making.MERGE, (BASE, replace(BASE, role=AncestorRole.ADAPTER)))
    assert LineageRecord.from_bytes(plain.to_bytes()) == plain


def test_a_statement_says_the_record_of_a_manifest() -> None:
    repo, manifest = RepoId.parse("me/fact"), Digest("99" * 32)
    data = lineage_statement(repo, manifest, RECORD)
    assert read_lineage_statement(data) == (repo, manifest, RECORD)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "urn:outlast:lineage:v2"},
        {"ancestors": []},
        {"ancestors": [BASE.to_json()] * 17},
        {"more": 1},
        {"seed": -1},
        {"seed": True},
        {"making": "magic"},
        {"data": {"sha256": "x"}},
        {"metrics": {"A B": 1}},
        {"metrics": {"a": [1]}},
        {"metrics": {f"k{n}": n for n in range(65)}},
        {"versions": {"a": "two\nlines"}},
        {"ancestors": [{**BASE.to_json(), "name": "org/base"}]},
        {"ancestors": [{**BASE.to_json(), "manifest": {}}]},
    ],
)
def test_what_is_no_record(change: dict[str, object]) -> None:
    document = {"type": "urn:outlast:lineage:v1", **RECORD.to_json(), **change}
    with pytest.raises(MalformedError):
        LineageRecord.from_bytes(rfc8785.dumps(document))


def test_another_spelling_is_none() -> None:
    with pytest.raises(MalformedError, match="canonical"):
        LineageRecord.from_bytes(RECORD.to_bytes().replace(b":", b": ", 1))
    with pytest.raises(MalformedError, match="exceeds"):
        LineageRecord.from_bytes(b" " * (MAX_LINEAGE + 1))


@given(st.binary(max_size=200))
def test_anything_else_is_refused_in_words(data: bytes) -> None:
    for read in (LineageRecord.from_bytes, read_lineage_statement):
        with pytest.raises(OutlastError):
            read(data)
