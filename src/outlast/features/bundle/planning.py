"""What an export is to write: which revisions, and which payloads in which form and parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from outlast.codec.bundle.contents import (
    ATTESTATIONS,
    CATALOGUES,
    MANIFESTS,
    BundleContents,
    BundledBlob,
    BundledModel,
    BundledRef,
    Record,
    Since,
)
from outlast.codec.bundle.documents import ArchiveInventory, Outer
from outlast.codec.bundle.geometry import Geometry, PartLayout, choose_layout
from outlast.codec.bundle.sealed import Envelope, SealedContents
from outlast.codec.payload import Form
from outlast.core.claims import Claims
from outlast.core.digest import Digest
from outlast.core.errors import (
    CorruptError,
    NotArchivedError,
    PolicyError,
    TakenDownError,
    UsageError,
)
from outlast.core.manifest import Revision
from outlast.core.names import RepoId, Target
from outlast.core.policy import Action
from outlast.features.bundle.archive_stream import payload_form
from outlast.features.bundle.tuning import TUNING, Tuning
from outlast.intake.judging import require_revision
from outlast.intake.told_alone import confirmed_refs, refuse_told_alone
from outlast.store.archive import Archive
from outlast.store.evidence.catalogues import read_metadata
from outlast.store.forms import StoredForm
from outlast.store.records.attestations import SUFFIX
from outlast.store.records.refs import Ref

_PLACEHOLDER: Final = PartLayout(1 << 20, 1 << 20, 254, 1)
"""Takes as many characters as any layout, or nearly."""


@dataclass(frozen=True, slots=True)
class KnownThere:
    """What the reader of a bundle has already, as that said, or an earlier bundle for it."""

    blobs: frozenset[Digest] = frozenset()
    manifests: frozenset[Digest] = frozenset()
    since: Since | None = None

    @classmethod
    def of_bundle(cls, contents: BundleContents) -> "KnownThere":
        return cls(
            frozenset((*contents.assumed_blobs, *(p.blob for p in contents.payloads))),
            frozenset((*contents.assumed_manifests, *_manifests_in(contents))),
            Since(contents.id, contents.sequence),
        )

    @classmethod
    def of_inventory(cls, inventory: ArchiveInventory) -> "KnownThere":
        return cls(inventory.blobs, inventory.manifests, Since(inventory.check, 0))


@dataclass(frozen=True, slots=True)
class ExportWishes:
    """What is asked for. `part_size`: bytes of the largest file; `parity`: percent of the parts
    that may be lost; `restricted`: private and gated models may go too; `program`: files that
    install outlast there, by path; `catalogues`: those of this archive that go along, by name.
    """

    plain: bool = False
    parity: float = TUNING.parity_percent
    part_size: int = TUNING.part_size
    restricted: bool = False
    known: KnownThere = field(default_factory=KnownThere)
    program: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    catalogues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seal:
    """How a bundle is encrypted: what it says in clear, what its envelope holds, and for whom."""

    contents: SealedContents
    envelope: Envelope
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """What will be written. `records`: the bytes of the records, in their order; `paths`: by blob,
    the files that have it, as ``org/name: path``; `assumed`: files that the reader has; `seal`:
    how it is encrypted, if it is; `claims`: which hold of the manifests, as the archive that writes
    the bundle says.
    """

    contents: BundleContents
    records: tuple[bytes, ...]
    revisions: tuple[Revision, ...]
    paths: Mapping[Digest, str]
    assumed: int
    seal: Seal | None = None
    claims: Mapping[Digest, Claims] = field(default_factory=dict)

    @property
    def outer(self) -> Outer:
        """What the bundle says of itself to everybody."""
        return self.contents if self.seal is None else self.seal.contents

    @property
    def cut(self) -> Geometry:
        """How what is written is cut."""
        return self.outer.geometry

    @property
    def payload_bytes(self) -> int:
        return sum(payload.length for payload in self.contents.payloads)

    @property
    def total_bytes(self) -> int:
        """Of the files of all parts."""
        return sum(map(self.cut.part_size, range(self.cut.parts)))


def make_plan(
    archive: Archive, targets: Sequence[Target], wishes: ExportWishes, tuning: Tuning = TUNING
) -> ExportPlan:
    """Plans a bundle of `targets`. Raises :class:`NotArchivedError` where files of a revision are
    not here, :class:`PolicyError` where a model may not go (withdrawn, revoked), and
    :class:`UsageError` where parts are too small for parity.
    """
    found: dict[RepoId, dict[Digest, tuple[Revision, set[str]]]] = {}
    for target in targets:
        revision, refs = _revision(archive, target, restricted=wishes.restricted)
        of_model = found.setdefault(revision.repo, {})
        of_model.setdefault(revision.digest, (revision, set()))[1].update(refs)
    models = tuple(_model(archive, repo, of) for repo, of in sorted(found.items()))
    revisions = [rev for _, of in sorted(found.items()) for _, (rev, _) in sorted(of.items())]
    records = _records(archive, revisions, wishes)
    payloads, paths, assumed = _payloads(archive, revisions, wishes)
    draft = _contents(archive, models, records, payloads, wishes)
    contents = _cut(draft, wishes, tuning)
    return ExportPlan(
        contents, tuple(data for _, _, data in records), tuple(revisions), paths, assumed
    )


def _revision(
    archive: Archive, target: Target, *, restricted: bool
) -> tuple[Revision, Sequence[str]]:
    """A sealed revision, and the refs that go with it."""
    repo = archive.refs.spelling(target.repo)
    revision = archive.revision(repo, target.ref)
    require_revision(archive, Action.EXPORT, revision)
    about = archive.refs.about(repo)
    if about.notice is not None and about.is_stopped:
        raise TakenDownError(f"{repo} is not given out: {about.notice.reason}")
    archive.revocations.refuse(revision)
    if not about.is_open and not restricted:
        state = "private" if about.private else "gated"
        raise PolicyError(
            f"{repo} is {state} at its hub, so it is not exported",
            hint="--restricted exports it; its mark travels with it",
        )
    refuse_told_alone(archive, revision)
    if archive.drafts.load(repo, revision.id) is not None:
        raise NotArchivedError(
            f"{repo} at {revision.id.hex[:12]} is not complete here",
            hint="'outlast pull' fetches what is missing",
        )
    return revision, [ref.name for ref in confirmed_refs(archive, revision)]


def _model(
    archive: Archive, repo: RepoId, revisions: Mapping[Digest, tuple[Revision, set[str]]]
) -> BundledModel:
    about = archive.refs.about(repo)
    wanted = {name for _, names in revisions.values() for name in names}
    refs = [ref for ref in archive.refs.list(repo) if ref.name in wanted]
    notes = about.notes
    return BundledModel(
        repo,
        about.private,
        about.gated,
        about.tags,
        {key: text for key, text in about.facts.items() if key not in notes},
        tuple(sorted(revisions)),
        tuple(map(_bundled, sorted(refs, key=lambda ref: ref.name))),
    )


def _bundled(ref: Ref) -> BundledRef:
    kind = ref.kind if ref.kind in {"branch", "tag"} else ""
    return BundledRef(ref.name, ref.commit, ref.source, ref.observed, kind)


def _records(
    archive: Archive, revisions: Sequence[Revision], wishes: ExportWishes
) -> list[tuple[str, Digest, bytes]]:
    """The manifests that the reader lacks, the signed statements about all of them, the signed
    files of catalogues, and the files that install outlast, by path.
    """
    found = {path: (Digest.of(data), data) for path, data in wishes.program.items()}
    for name in wishes.catalogues:
        for path, data in read_metadata(archive.layout.home, name).items():
            found[f"{CATALOGUES}{name}/{path}"] = Digest.of(data), data
    for revision in revisions:
        if revision.digest not in wishes.known.manifests:
            found[f"{MANIFESTS}{revision.digest}.json"] = (revision.digest, revision.to_bytes())
        for stored in archive.attestations.of(revision.digest):
            path = f"{ATTESTATIONS}{revision.digest}/{stored.digest}{SUFFIX}"
            found[path] = stored.digest, stored.data
    return [(path, digest, data) for path, (digest, data) in sorted(found.items())]


def _payloads(
    archive: Archive, revisions: Sequence[Revision], wishes: ExportWishes
) -> tuple[list[BundledBlob], dict[Digest, str], int]:
    """The payloads without their places; bases come first."""
    paths: dict[Digest, str] = {}
    assumed = 0
    absent: list[str] = []
    damaged = archive.damage.all()
    for revision in revisions:
        for entry in revision.files:
            assert entry.sha256 is not None
            if entry.sha256 in wishes.known.blobs:
                assumed += 1
            elif entry.sha256 in damaged:
                raise CorruptError(f"{revision.repo}: {entry.path} is damaged here")
            elif not archive.holds(entry):
                absent.append(f"{revision.repo}: {entry.path}")
            else:
                paths.setdefault(entry.sha256, f"{revision.repo}: {entry.path}")
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise NotArchivedError(f"not here: {absent[0]}{more}")
    held = {blob: archive.form_of(blob) for blob in paths}
    order: dict[Digest, BundledBlob] = {}
    for blob in held:
        _add(blob, held, wishes, order)
    return [*order.values()], paths, assumed


def _add(
    blob: Digest,
    held: Mapping[Digest, StoredForm],
    wishes: ExportWishes,
    order: dict[Digest, BundledBlob],
) -> None:
    """Adds a payload behind its bases. A delta whose base neither goes along nor is there already
    goes as plain bytes: the base may belong to a model that is not to leave.
    """
    if blob in order:
        return
    form = held[blob]
    bases = [base.sha256 for base in form.bases]
    plain = wishes.plain or any(
        base not in held and base not in wishes.known.blobs for base in bases
    )
    kind, length = payload_form(form, plain=plain)
    if kind is Form.PLAIN:
        bases = []
    for base in bases:
        if base in held:
            _add(base, held, wishes, order)
    order[blob] = BundledBlob(blob, form.size, kind, 0, length, tuple(bases))


def _contents(
    archive: Archive,
    models: tuple[BundledModel, ...],
    records: Sequence[tuple[str, Digest, bytes]],
    payloads: Sequence[BundledBlob],
    wishes: ExportWishes,
) -> BundleContents:
    at = 0
    placed_records = []
    for path, digest, data in records:
        placed_records.append(Record(path, digest, len(data), at))
        at += len(data)
    placed = []
    for payload in payloads:
        placed.append(replace(payload, offset=at))
        at += payload.length
    known, since = wishes.known, wishes.known.since
    blobs, manifests = known.blobs, known.manifests
    if since is not None and not since.sequence:  # of an inventory, what this archive has too
        blobs &= {blob.digest for blob in archive.blobs()}
        manifests &= {digest for model in models for digest in model.manifests}
    return BundleContents(
        _PLACEHOLDER,
        models,
        tuple(placed_records),
        tuple(placed),
        1 if since is None else since.sequence + 1,
        since,
        tuple(sorted(blobs)),
        tuple(sorted(manifests)),
    )


def _manifests_in(contents: BundleContents) -> list[Digest]:
    return [r.sha256 for r in contents.records if r.path.startswith(MANIFESTS)]


def _cut(draft: BundleContents, wishes: ExportWishes, tuning: Tuning) -> BundleContents:
    """The contents with the layout that suits the stream. Its length follows from the layout, which
    the contents say: so the layout is chosen anew until the stream is no longer than it was for.
    """
    stream = draft.length + len(draft.encoded)
    while True:
        try:
            layout = choose_layout(
                stream,
                part_size=wishes.part_size,
                parity_percent=wishes.parity,
                least=tuning.least_parts,
            )
        except ValueError as error:
            hint = "give --part-size or --parity another value"
            raise UsageError(str(error), hint=hint) from None
        found = replace(draft, layout=layout)
        if found.geometry.stream <= stream:
            return found
        stream = found.geometry.stream
