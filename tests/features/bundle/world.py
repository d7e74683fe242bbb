"""Two archives and the folder of a bundle between them."""

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from outlast.codec.bundle.geometry import PartLayout
from outlast.core.control import Control
from outlast.core.digest import GitOid
from outlast.core.names import RepoId, Target
from outlast.features.bundle.export import ExportedBundle, export_bundle, media_of
from outlast.features.bundle.importing import Imported, import_bundle
from outlast.features.bundle.planning import ExportWishes, make_plan
from outlast.fetch.file_filter import Selection
from outlast.intake.form_policy import FormWishes
from outlast.ops.add import add
from outlast.sources.bundle.opened import open_media
from outlast.store.archive import Archive
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from tests.pull.weights import model, packed, tuned

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
SMALL = 300_000
"""Bytes of a part, so that small bundles have some."""
_count = itertools.count()


def put(
    archive: Archive,
    folder: Path,
    files: Mapping[str, bytes],
    name: str,
    *,
    base: str = "",
    observed: str = "2026-11-01T00:00:00+00:00",
) -> GitOid:
    """Archives files as `name`, and has a hub say that `main` is that."""
    place = folder / f"{name.replace('/', '-')}-{next(_count)}"
    for path, data in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(data)
    target = Target.parse(name)
    added = add(
        archive,
        place,
        target,
        selection=Selection(),
        follow_links=False,
        control=Control(),
        wishes=FormWishes(base=Target.parse(base) if base else None),
    )
    with archive.writer() as writer:
        ref = Ref("main", added.revision.id, "https://hub.example", observed, "branch")
        archive.refs.put(writer, target.repo, ref)
    return added.revision.id


def weights(folder: Path, *, change: bool = False) -> bytes:
    """A safetensors file of 2 MB; a fine-tune differs in one tensor."""
    tensors = model(3)
    if change:
        tensors = tuned(tensors, "layers.1.weight")
    return packed(folder / f"weights-{change}.safetensors", tensors)


def fill(archive: Archive, folder: Path) -> None:
    """A base and its fine-tune, of which the first is a capsule and the second a delta to it."""
    noise = Random(1).randbytes(700_001)
    files = {
        "model.safetensors": weights(folder),
        "noise.bin": noise,
        "config.json": b"{}",
        "empty": b"",
    }
    put(archive, folder, files, "org/base")
    tune = {"model.safetensors": weights(folder, change=True), "config.json": b"{}"}
    put(archive, folder, tune, "org/tuned", base="org/base")


def make_private(archive: Archive, name: str) -> None:
    with archive.writer() as writer:
        archive.refs.put_about(writer, RepoId.parse(name), About(private=True))


def export_to(
    archive: Archive,
    places: Path | Sequence[Path],
    *names: str,
    wishes: ExportWishes | None = None,
    capacity: int | None = None,
    layout: PartLayout | None = None,
    control: Control | None = None,
    bagit: bool = False,
) -> ExportedBundle:
    folders = [places] if isinstance(places, Path) else places
    plan = make_plan(archive, [Target.parse(n) for n in names], wishes or ExportWishes())
    if layout is not None:
        plan = replace(plan, contents=replace(plan.contents, layout=layout))
    return export_bundle(
        archive,
        plan,
        folders,
        lambda number, _count: folders[min(number, len(folders)) - 1],
        media=media_of(plan, capacity),
        bagit=bagit,
        control=control or Control(),
        now=NOW,
    )


def import_from(archive: Archive, *folders: Path, control: Control | None = None) -> list[Imported]:
    media = open_media(folders)
    try:
        return [import_bundle(archive, found, control or Control()) for found in media.bundles]
    finally:
        for found in media.bundles:
            found.close()


def files_below(home: Path) -> dict[str, bytes]:
    """The blobs, capsules and manifests of an archive, by path."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for kind in ("blobs", "capsules", "manifests")
        for path in sorted((home / kind).rglob("*"))
        if path.is_file()
    }
