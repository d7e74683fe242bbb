"""What the pages say of a bundle, as values: made from its contents and manifests, and from the
texts of small files, by digest. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from outlast.codec.bundle.contents import INSTALLER, WHEELS, BundleContents, BundledModel, Record
from outlast.core.digest import Digest
from outlast.core.manifest import FileEntry, Revision
from outlast.features.bundle.review.marks import Mark, is_licence, mark_of
from outlast.intake.base_names import read_card, read_tags

_PARTS: Final = {
    INSTALLER: "installs them",
    "outlast": "outlast",
    "xllamacpp": "the engine: llama.cpp",
    "pip": "installs the others",
}
"""By the first word of a file's name."""
_LICENCE_TAG: Final = "license:"
MAX_LICENCE: Final = 64 * 1024
"""Characters of a licence's text that a page has; of a longer one the rest is in its file."""


@dataclass(frozen=True, slots=True)
class ReviewedFile:
    """`is_here`: whether this bundle holds it, or expects the reader to."""

    path: str
    size: int
    sha256: str
    mark: Mark | None
    is_here: bool


@dataclass(frozen=True, slots=True)
class ReviewedRevision:
    """`partial`: files of it are missing in the archive that wrote the bundle. `claims`: those that
    hold there, by their words.
    """

    id: str
    manifest: str
    refs: tuple[str, ...]
    source: str
    files: tuple[ReviewedFile, ...]
    partial: bool
    claims: str = ""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class ReviewedModel:
    """`access`: why not everybody gets it at its hub; empty: it is open. `licence_files`: path and
    text of each.
    """

    name: str
    access: str
    licences: tuple[str, ...]
    bases: tuple[str, ...]
    revisions: tuple[ReviewedRevision, ...]
    licence_files: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ProgramFile:
    """A file that installs outlast and its engine on the other side: what a person may run."""

    path: str
    size: int
    sha256: str

    @property
    def what(self) -> str:
        """What it is, where that is more than a package that outlast needs."""
        name = self.path.removeprefix(WHEELS).partition("-")[0]
        return _PARTS.get(name, "")


@dataclass(frozen=True, slots=True)
class BundleReview:
    """Everything that the pages say. Sizes in bytes."""

    id: str
    sequence: int
    since: str
    assumed: int
    parts: int
    parity_parts: int
    spare: str
    """How many parts may be lost; empty: none."""
    size: int
    models: tuple[ReviewedModel, ...]
    program: tuple[ProgramFile, ...] = ()
    """`install.sh` first."""

    def marked(self) -> list[tuple[str, ReviewedFile]]:
        """The files that deserve a look, with the names of their models."""
        return [
            (model.name, file)
            for model in self.models
            for revision in model.revisions
            for file in revision.files
            if file.mark is not None
        ]


def review(
    contents: BundleContents,
    revisions: Sequence[Revision],
    texts: Mapping[Digest, bytes],
    claims: Mapping[Digest, str],
) -> BundleReview:
    """`revisions`: of all manifests that the contents name and that are known; `texts`: the bytes
    of small files, as far as they could be read; `claims`: what is claimed of manifests.
    """
    cut = contents.geometry
    by_digest = {revision.digest: revision for revision in revisions}
    held = {payload.blob for payload in contents.payloads}
    models = []
    for model in contents.models:
        found = [by_digest[digest] for digest in model.manifests if digest in by_digest]
        reviewed = _model(model, found, texts, held)
        said = tuple(
            replace(one, claims=claims.get(Digest(one.manifest), "")) for one in reviewed.revisions
        )
        models.append(replace(reviewed, revisions=said))
    since = contents.since
    kind = "bundle" if since is not None and since.sequence else "inventory"
    return BundleReview(
        id=contents.id.hex,
        sequence=contents.sequence,
        since="" if since is None else f"{kind} {since.digest}",
        assumed=len(contents.assumed_blobs),
        parts=cut.data_parts,
        parity_parts=cut.parts - cut.data_parts,
        spare=_spare(contents),
        size=sum(map(cut.part_size, range(cut.parts))),
        models=tuple(models),
        program=tuple(
            ProgramFile(record.path, record.size, record.sha256.hex)
            for record in sorted(contents.records, key=_installer_first)
            if record.path == INSTALLER or record.path.startswith(WHEELS)
        ),
    )


def _installer_first(record: Record) -> tuple[bool, str]:
    return record.path != INSTALLER, record.path


def _spare(contents: BundleContents) -> str:
    layout, cut = contents.layout, contents.geometry
    if not layout.parity:
        return ""
    if cut.groups == 1:
        return f"any {layout.parity} of them may be lost"
    return f"of each {layout.group + layout.parity} any {layout.parity} may be lost"


def _model(
    model: BundledModel,
    revisions: Sequence[Revision],
    texts: Mapping[Digest, bytes],
    held: set[Digest],
) -> ReviewedModel:
    bases = [str(base) for base in read_tags(model.tags)]
    licences: dict[tuple[str, str], None] = {}
    for revision in revisions:
        for entry in revision.files:
            data = texts.get(entry.sha256) if entry.sha256 is not None else None
            if data is None:
                continue
            if entry.path == "README.md":
                bases += map(str, read_card(entry.path, data))
            if is_licence(entry.path):
                licences[entry.path, data.decode(errors="replace")[:MAX_LICENCE]] = None
    tags = [t.removeprefix(_LICENCE_TAG) for t in model.tags if t.startswith(_LICENCE_TAG)]
    return ReviewedModel(
        name=str(model.repo),
        access=_access(model),
        licences=tuple(tags),
        bases=tuple(dict.fromkeys(bases)),
        revisions=tuple(_revision(model, revision, texts, held) for revision in revisions),
        licence_files=tuple(licences),
    )


def _access(model: BundledModel) -> str:
    if model.private:
        return "private at its hub"
    return "gated at its hub" if model.gated else ""


def _revision(
    model: BundledModel, revision: Revision, texts: Mapping[Digest, bytes], held: set[Digest]
) -> ReviewedRevision:
    mine = [ref for ref in model.refs if ref.commit == revision.id]

    def reviewed(entry: FileEntry) -> ReviewedFile:
        assert entry.sha256 is not None, "an archived file has one"
        mark = mark_of(entry.path, texts.get(entry.sha256))
        return ReviewedFile(
            entry.path, entry.size, entry.sha256.hex, mark, is_here=entry.sha256 in held
        )

    return ReviewedRevision(
        id=revision.id.hex,
        manifest=revision.digest.hex,
        refs=tuple(ref.name for ref in mine),
        source=next((f"{r.source}, {r.observed}" for r in mine if r.source), ""),
        files=tuple(map(reviewed, revision.files)),
        partial=revision.partial,
    )
