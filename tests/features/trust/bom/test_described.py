"""The component of a model: valid for any names, and with all that is known."""

import json
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from outlast.core.claims import Claim, Claims, ClaimState, Standing
from outlast.core.digest import Digest, GitOid
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.features.trust.bom.described import (
    Ancestor,
    DescribedModel,
    LicenceFound,
    component,
    is_whole,
    purl,
)
from outlast.features.trust.bom.document import bill, to_bytes
from outlast.features.trust.rules.publishers import Publisher

WHEN = "2026-11-30T12:00:00Z"
REPO = RepoId.parse("org/model")
COMMIT = GitOid("1" * 40)
TEXT = Digest.of(b"text")
KNOWN = Publisher("org", "Org Ltd", "FR", "Parent SA", "https://example.org", "2026-01-01")


def entry(path: str, data: bytes = b"data") -> FileEntry:
    return FileEntry(path, len(data), Digest.of(data), merkle_root=Digest.of(data + b"!"))


def revision(*files: FileEntry, missing: tuple[FileEntry, ...] = ()) -> Revision:
    return Revision.of(REPO, COMMIT, files or (entry("a.bin"),), missing)


def properties(model: DescribedModel) -> dict[str, str]:
    return {one["name"]: one["value"] for one in component(model)["properties"]}


def test_what_is_known_is_in_it(validate: Callable[[str], None]) -> None:
    found = revision()
    model = DescribedModel(
        revision=found,
        manifest=found.digest,
        licence=LicenceFound("apache-2.0", "Apache-2.0", {"LICENSE": TEXT}),
        publisher=KNOWN,
        ancestors=[Ancestor(RepoId.parse("org/base"), "2" * 40, TEXT)],
        card={"task": "text-generation", "model_type": "llama", "datasets": ["org/words"]},
        sources=["https://hub.example/"],
        claims=Claims.of([ClaimState(Claim.OBSERVED, Standing.HOLDS, ("alice", "bob"))], "bad"),
    )
    part = component(model)
    assert part["purl"] == f"pkg:huggingface/org/model@{'1' * 40}"
    assert part["licenses"] == [{"expression": "Apache-2.0", "acknowledgement": "declared"}]
    assert part["supplier"] == {"name": "Org Ltd", "address": {"country": "FR"}}
    [ancestor] = part["pedigree"]["ancestors"]
    assert (ancestor["group"], ancestor["name"], ancestor["version"]) == ("org", "base", "2" * 40)
    assert part["modelCard"]["modelParameters"] == {
        "task": "text-generation",
        "architectureFamily": "llama",
        "datasets": [{"type": "dataset", "name": "org/words"}],
    }
    said = properties(model)
    assert said["outlast:manifest"] == found.digest.hex
    assert said["outlast:claim:observed"] == "holds (alice, bob)"
    assert said["outlast:claim:published"] == "absent"
    assert said["outlast:revoked"] == "bad"
    assert said["outlast:licence:text:LICENSE"] == f"sha256:{TEXT.hex}"
    validate(to_bytes(bill([model], WHEN)).decode())


def test_no_claim_is_called_verified() -> None:
    model = DescribedModel(revision(), TEXT, claims=Claims.of(()))
    assert "verified" not in to_bytes(bill([model], WHEN)).decode()


def test_what_is_not_known_is_unknown(validate: Callable[[str], None]) -> None:
    model = DescribedModel(revision(), None)
    part = component(model)
    assert not {"licenses", "supplier", "pedigree"} & {*part}
    assert properties(model)["outlast:licence:spdx"] == "unknown"
    assert properties(model)["outlast:publisher:legal-entity"] == "unknown"
    validate(to_bytes(bill([model], WHEN)).decode())


def test_a_licence_that_spdx_does_not_have_keeps_its_name() -> None:
    model = DescribedModel(
        revision(), None, licence=LicenceFound("llama3.1", "LicenseRef-llama-3.1")
    )
    named = {"name": "llama3.1", "acknowledgement": "declared"}
    assert component(model)["licenses"] == [{"license": named}]


def test_files_that_are_not_here_make_it_incomplete() -> None:
    lacking = revision(missing=(FileEntry("b.bin", 9, TEXT),))
    absent = revision()
    for model in (
        DescribedModel(lacking, TEXT),
        DescribedModel(absent, TEXT, absent=absent.files),
    ):
        assert not is_whole(model)
        [composition] = bill([model], WHEN)["compositions"]
        assert composition["aggregate"] == "incomplete"
    assert properties(DescribedModel(lacking, TEXT))["outlast:not-archived"] == "b.bin"
    assert bill([DescribedModel(absent, TEXT)], WHEN)["compositions"][0]["aggregate"] == "complete"


def test_bases_in_the_document_are_what_a_model_depends_on() -> None:
    base = RepoId.parse("org/base")
    below = DescribedModel(Revision.of(base, COMMIT, [entry("a")]), None)
    above = DescribedModel(
        revision(),
        None,
        ancestors=[Ancestor(base, COMMIT.hex), Ancestor(RepoId.parse("org/elsewhere"))],
    )
    found = {one["ref"]: one["dependsOn"] for one in bill([below, above], WHEN)["dependencies"]}
    assert found == {below.ref: [], above.ref: [below.ref]}


def test_the_serial_number_follows_from_the_content() -> None:
    one, other = DescribedModel(revision(), None), DescribedModel(revision(), TEXT)
    serial = bill([one], WHEN)["serialNumber"]
    assert serial == bill([one], WHEN)["serialNumber"] != bill([other], WHEN)["serialNumber"]


@given(st.text(min_size=1, max_size=30))
def test_hostile_names_stay_names(name: str) -> None:
    card = {"task": name, "datasets": [name]}
    model = DescribedModel(
        revision(), None, licence=LicenceFound(name), card=card, publisher=Publisher("org", name)
    )
    text = to_bytes(bill([model], WHEN))
    assert json.loads(text)["components"][0]["modelCard"]["modelParameters"]["task"] == name


def test_names_are_escaped_in_package_urls() -> None:
    assert purl(RepoId.parse("gpt2")) == "pkg:huggingface/gpt2"
    assert purl(REPO, "a@b/c") == "pkg:huggingface/org/model@a%40b%2Fc"
