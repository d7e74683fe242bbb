"""Bundles as no writer of ours makes them."""

from collections.abc import Sequence
from pathlib import Path

from outlast.codec.bundle.contents import (
    MANIFESTS,
    BundleContents,
    BundledBlob,
    BundledModel,
    BundledRef,
    Record,
)
from outlast.codec.bundle.documents import BUNDLE_FILE, BundleFile
from outlast.codec.bundle.geometry import PartLayout
from outlast.codec.bundle.part import BlockSums, PartHeader
from outlast.codec.hashing import names_of
from outlast.codec.payload import Form
from outlast.core.digest import Digest, GitOid
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId

COMMIT = GitOid("e" * 40)
REPO = RepoId.parse("evil/model")
LAYOUT = PartLayout(4096, rows=2, group=200, parity=0)


def entry(path: str, data: bytes) -> FileEntry:
    names = names_of(data)
    return FileEntry(path, names.size, names.sha256, merkle_root=names.merkle_root)


def bundle_of(
    files: Sequence[FileEntry],
    payloads: Sequence[tuple[BundledBlob, bytes]],
    *,
    manifest: bytes | None = None,
    repo: RepoId = REPO,
    layout: PartLayout = LAYOUT,
) -> tuple[BundleContents, bytes]:
    """Contents that name these files, and a stream with these payloads, one behind the other."""
    data = Revision.of(REPO, COMMIT, files).to_bytes() if manifest is None else manifest
    digest = Digest.of(data)
    ref = BundledRef("main", COMMIT, "https://hub", "2026-11-01T00:00:00+00:00", "branch")
    model = BundledModel(repo, False, False, (), {}, (digest,), (ref,))
    contents = BundleContents(
        layout,
        (model,),
        (Record(f"{MANIFESTS}{digest}.json", digest, len(data), 0),),
        tuple(payload for payload, _ in payloads),
    )
    body = b"".join([data, *(held for _, held in payloads)])
    return contents, contents.encoded.ljust(contents.base, b"\0") + body


def payload(data: bytes, at: int, *, claims: bytes | None = None) -> BundledBlob:
    """A plain payload that lies `at` there; `claims`: the bytes that it is said to be."""
    blob = Digest.of(data if claims is None else claims)
    return BundledBlob(blob, len(data), Form.PLAIN, at, len(data))


def write(
    folder: Path, contents: BundleContents, stream: bytes, *, parts: int | None = None
) -> None:
    """The parts of a bundle, or the first of them, with the right sums whatever is in them."""
    cut = contents.geometry
    block = cut.layout.block
    for part in range(parts or cut.data_parts):
        head = PartHeader(contents.id, part, cut, len(contents.encoded)).pack()
        sums = BlockSums(contents.id, part)
        first = part * cut.layout.rows
        frames = b""
        for row in range(cut.rows_of(part)):
            data = stream[(first + row) * block : (first + row + 1) * block].ljust(block, b"\0")
            frames += data + sums.of(row, data)
        path = folder / cut.name(part)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(head + frames + head)
    file = BundleFile(contents, "2026-11-01T00:00:00+00:00", ())
    (folder / BUNDLE_FILE).write_bytes(file.to_bytes())
