"""What was made becomes a revision: its files with the record, in one step."""

from pathlib import Path
from typing import Final

from outlast.core.control import Control
from outlast.core.names import Target
from outlast.core.records.lineage import LINEAGE_FILE, LineageRecord, Making
from outlast.features.tune.work.names import CARD
from outlast.fetch.file_filter import Selection
from outlast.intake.form_policy import FormWishes
from outlast.ops.add import Added, add
from outlast.store import disk
from outlast.store.archive import Archive

_EVERYTHING: Final = Selection()
_AUTO: Final = FormWishes()


def write_small(path: Path, data: bytes) -> None:
    """Writes a small file durably, in place of one that is there."""
    temp = path.with_name(f".{path.name}.new")
    with disk.reporting(path):
        disk.remove(temp)
        disk.write_temp(temp, data, disk.PRIVATE)
        disk.publish(temp, path)


def card(record: LineageRecord, title: str) -> bytes:
    """A model card: what hubs and outlast itself read the base's name from."""
    lines = [
        "---",
        f"base_model: {record.base.repo.name}",
        *(["library_name: peft"] if record.making is Making.ADAPTER else []),
        "---",
        f"# {title}",
        "",
        f"Made with outlast from {record.base.repo.name}. `{LINEAGE_FILE}` is the record of it.",
        "",
    ]
    return "\n".join(lines).encode()


def archive_made(
    archive: Archive,
    folder: Path,
    out: Target,
    record: LineageRecord,
    *,
    control: Control,
    wishes: FormWishes = _AUTO,
) -> Added:
    """Archives the files in `folder` as `out`, with the record and a card."""
    write_small(folder / LINEAGE_FILE, record.to_bytes())
    write_small(folder / CARD, card(record, out.repo.name))
    return add(
        archive,
        folder,
        out,
        selection=_EVERYTHING,
        follow_links=False,
        control=control,
        wishes=wishes,
    )
