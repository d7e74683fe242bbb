"""What a bill of materials says of one model, and the component of CycloneDX that says it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from outlast.core.claims import Claims
from outlast.core.digest import Digest
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, RepoKind
from outlast.features.trust.rules.countries import UNKNOWN
from outlast.features.trust.rules.publishers import Publisher

_PREFIX: Final = "outlast:"
"""Of the properties that CycloneDX has no field of its own for."""


@dataclass(frozen=True, slots=True)
class LicenceFound:
    """A licence as the model names it (`written`), as an SPDX expression ("unknown" where it is
    none), and the digest of each archived text of it, by path.
    """

    written: str = ""
    spdx: str = UNKNOWN
    texts: Mapping[str, Digest] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A model that this one was made from. `manifest` and `commit` where it is archived here."""

    repo: RepoId
    commit: str = ""
    manifest: Digest | None = None


@dataclass(frozen=True, slots=True)
class DescribedModel:
    """All that is said of one revision. `card` are facts of its card and configuration by the names
    that :func:`_model_card` reads; `sources` are URLs where it was seen.
    """

    revision: Revision
    manifest: Digest | None
    absent: Sequence[FileEntry] = ()
    licence: LicenceFound = LicenceFound()
    publisher: Publisher = field(default_factory=lambda: Publisher(""))
    ancestors: Sequence[Ancestor] = ()
    card: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    sources: Sequence[str] = ()
    claims: Claims | None = None

    @property
    def ref(self) -> str:
        """Names it within the document."""
        return reference(self.revision.repo, self.revision.id.hex)


def reference(repo: RepoId, commit: str) -> str:
    """The name of a revision within a document."""
    return f"{repo}@{commit}" if commit else str(repo)


def purl(repo: RepoId, commit: str = "") -> str:
    """The package URL (ECMA-427, type `huggingface`) of a model."""
    name = "/".join(quote(part, safe="") for part in repo.name.split("/"))
    return f"pkg:huggingface/{name}" + (f"@{quote(commit, safe='')}" if commit else "")


def component(model: DescribedModel) -> dict[str, Any]:
    """The component of a model or dataset, its files within it."""
    revision = model.revision
    found: dict[str, Any] = {
        "type": "data" if revision.repo.kind is RepoKind.DATASET else "machine-learning-model",
        "bom-ref": model.ref,
        **_name(revision.repo),
        "version": revision.id.hex,
    }
    if model.publisher.legal_entity != UNKNOWN:
        found["supplier"] = _organisation(model.publisher)
    if licences := _licences(model.licence):
        found["licenses"] = licences
    if revision.commit is not None and revision.repo.kind is RepoKind.MODEL:
        found["purl"] = purl(revision.repo, revision.commit.hex)
    if model.ancestors:
        found["pedigree"] = {"ancestors": [_ancestor(one) for one in model.ancestors]}
    if model.sources:
        found["externalReferences"] = [
            {"type": "distribution", "url": url} for url in dict.fromkeys(model.sources)
        ]
    files = [_file(model.ref, entry) for entry in (*revision.files, *revision.missing)]
    if files:
        found["components"] = files
    if revision.repo.kind is RepoKind.DATASET:
        found["data"] = [{"type": "dataset", "name": revision.repo.name}]
    else:
        found["modelCard"] = _model_card(model)
    found["properties"] = [_property(name, value) for name, value in _properties(model)]
    return found


def is_whole(model: DescribedModel) -> bool:
    """Whether all of its files are listed, and here."""
    return not (model.absent or model.revision.partial)


def _name(repo: RepoId) -> dict[str, str]:
    group, slash, name = repo.name.rpartition("/")
    return {"group": group, "name": name} if slash else {"name": name}


def _hash(digest: Digest) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest.hex}


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": _PREFIX + name, "value": value}


def _organisation(party: Publisher) -> dict[str, Any]:
    found: dict[str, Any] = {"name": party.legal_entity}
    if party.country != UNKNOWN:
        found["address"] = {"country": party.country}
    return found


def _licences(found: LicenceFound) -> list[dict[str, Any]]:
    """As an expression where SPDX has all of it, else by the name that the model gives."""
    if found.spdx != UNKNOWN and "LicenseRef-" not in found.spdx:
        return [{"expression": found.spdx, "acknowledgement": "declared"}]
    written = found.written or found.spdx
    if not written or written == UNKNOWN:
        return []
    return [{"license": {"name": written, "acknowledgement": "declared"}}]


def _ancestor(one: Ancestor) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "machine-learning-model", **_name(one.repo)}
    if one.commit:
        found["version"] = one.commit
    if one.manifest is not None:
        found["properties"] = [_property("manifest", one.manifest.hex)]
    if one.repo.kind is RepoKind.MODEL and "/" in one.repo.name:
        found["purl"] = purl(one.repo, one.commit)
    return found


def _file(model: str, entry: FileEntry) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "file",
        "bom-ref": f"{model}/{entry.path}",
        "name": entry.path,
    }
    hashes = [_hash(entry.sha256)] if entry.sha256 is not None else []
    if hashes:
        found["hashes"] = hashes
    extra = [("size", str(entry.size))]
    if entry.git_sha1 is not None:
        extra.append(("git-blob", entry.git_sha1.hex))
    if entry.merkle_root is not None:
        extra.append(("merkle-root", entry.merkle_root.hex))
    found["properties"] = [_property(name, value) for name, value in extra]
    return found


def _model_card(model: DescribedModel) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for field_name, key in (
        ("task", "task"),
        ("architectureFamily", "model_type"),
        ("modelArchitecture", "architecture"),
    ):
        if isinstance(value := model.card.get(key), str) and value:
            parameters[field_name] = value
    datasets = model.card.get("datasets", ())
    if datasets and not isinstance(datasets, str):
        parameters["datasets"] = [{"type": "dataset", "name": name} for name in datasets]
    return {"modelParameters": parameters} if parameters else {}


def _properties(model: DescribedModel) -> Iterator[tuple[str, str]]:
    if model.manifest is not None:
        yield "manifest", model.manifest.hex
    yield "size", str(model.revision.size)
    for entry in model.absent:
        yield "absent", entry.path
    for entry in model.revision.missing:
        yield "not-archived", entry.path
    if model.revision.unlisted:
        yield "unlisted", "the listing of files may lack some"
    yield "licence:written", model.licence.written or UNKNOWN
    yield "licence:spdx", model.licence.spdx
    for path, digest in sorted(model.licence.texts.items()):
        yield f"licence:text:{path}", f"sha256:{digest.hex}"
    yield from _of_publisher(model.publisher)
    if model.claims is not None:
        yield from _of_claims(model.claims)


def _of_publisher(publisher: Publisher) -> Iterator[tuple[str, str]]:
    yield "publisher:legal-entity", publisher.legal_entity
    yield "publisher:country", publisher.country
    for name in ("parent", "source", "date"):
        if value := getattr(publisher, name):
            yield f"publisher:{name}", value


def _of_claims(claims: Claims) -> Iterator[tuple[str, str]]:
    for state in claims.states:
        who = f" ({', '.join(state.who)})" if state.who else ""
        yield f"claim:{state.claim}", f"{state.standing}{who}"
    if claims.revoked:
        yield "revoked", claims.revoked
