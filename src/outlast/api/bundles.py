"""Bundles, for a Python program."""

import contextlib
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from outlast.api.values import BundleExport, BundleImport
from outlast.core.control import Control
from outlast.core.errors import UsageError
from outlast.core.events import FileProblem
from outlast.core.names import Target
from outlast.features.bundle.export import export_bundle, media_of
from outlast.features.bundle.importing import Imported, import_bundle
from outlast.features.bundle.planning import ExportWishes, make_plan
from outlast.features.bundle.sealing import sealed
from outlast.features.bundle.since import read_since
from outlast.features.bundle.tuning import TUNING
from outlast.sources.bundle.age import Keyring, read_recipients
from outlast.sources.bundle.opened import open_media
from outlast.store.archive import Archive as Store


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    plain: bool
    parity: float
    part_size: int | None
    media: int | None
    since: Path | None
    bagit: bool
    recipients: tuple[str, ...]
    identity: Path | None
    restricted: bool


@dataclass(frozen=True, slots=True)
class Carrying(_How):
    """What to export, to which folders, and how: the arguments of an export."""

    targets: tuple[Target, ...]
    places: tuple[Path, ...]


def export(store: Store, carrying: Carrying, now: dt.datetime, control: Control) -> BundleExport:
    """Writes a bundle."""
    if not carrying.targets:
        raise UsageError("nothing to export", hint="name a model")
    wishes = ExportWishes(
        carrying.plain,
        carrying.parity,
        carrying.part_size or TUNING.part_size,
        carrying.restricted,
        read_since(carrying.since, Keyring(carrying.identity)),
    )
    plan = make_plan(store, carrying.targets, wishes)
    if carrying.recipients:
        plan = sealed(plan, read_recipients(carrying.recipients), wishes)
    media, places = media_of(plan, carrying.media), carrying.places
    if len(places) != len(media):
        raise UsageError(
            f"the bundle takes {len(media)} media, and {len(places)} folders are named",
            hint="name one folder for each medium",
        )
    done = export_bundle(
        store,
        plan,
        places,
        lambda number, _count: places[number - 1],
        media=media,
        bagit=carrying.bagit,
        control=control,
        now=now,
    )
    return BundleExport(
        id=plan.outer.id.hex,
        revisions=tuple(f"{revision.repo}@{revision.id}" for revision in plan.revisions),
        blobs=len(plan.contents.payloads),
        assumed=plan.assumed,
        size=plan.total_bytes,
        parts=plan.cut.data_parts,
        parity_parts=plan.cut.parts - plan.cut.data_parts,
        kept=done.kept,
    )


def import_media(
    store: Store, folders: Sequence[Path], identity: Path | None, control: Control
) -> tuple[BundleImport, ...]:
    """Archives what the bundles on some media hold."""
    media = open_media(folders, Keyring(identity))
    with contextlib.ExitStack() as stack:
        for bundle in media.bundles:
            stack.enter_context(bundle)
        results = [import_bundle(store, bundle, control) for bundle in media.bundles]
    return tuple(map(_told, results))


def _told(result: Imported) -> BundleImport:
    return BundleImport(
        id=result.bundle.id.hex,
        revisions=tuple(f"{one.repo}@{one.id}" for one in result.revisions),
        new=tuple(f"{one.repo}@{one.id}" for one in result.new),
        unfinished=tuple(f"{one.repo}@{one.id}" for one in result.unfinished),
        new_blobs=result.new_blobs,
        new_bytes=result.new_bytes,
        refs=tuple(result.moved),
        kept_refs=tuple(FileProblem(one.what, one.reason, one.code) for one in result.kept),
        refused=tuple(FileProblem(one.what, one.reason, one.code) for one in result.refused),
        repaired_blocks=result.repaired,
    )
