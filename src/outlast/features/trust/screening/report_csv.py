"""A report as CSV. What a spreadsheet would take for a formula is written as text."""

import csv
import io
import re
from collections.abc import Iterable
from typing import Final

from outlast.core.errors import one_line
from outlast.features.trust.screening.screened import Screening

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a formula begins; the last four are the same signs as East Asian keyboards write them."""
_AFTER_SEPARATOR: Final = re.compile(r"([;\t|] *)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet that splits at another sign than the comma would begin a cell."""
_HEAD: Final = (
    "model", "commit", "name", "role", "of", "result", "score", "list", "list date",
    "list sha256", "part of the list", "id", "party", "name in the list", "programmes",
)  # fmt: skip


def write_csv(screenings: Iterable[Screening]) -> bytes:
    """A line for each name and row that is alike, and one for a name where none is. UTF-8 with a
    mark, as spreadsheets want it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_HEAD)
    for found in screenings:
        commit = "" if found.commit is None else found.commit.hex
        for name in found.names:
            start = (str(found.repo), commit, name.name.text, name.name.role, str(name.name.of))
            for hit in name.hits:
                party, facts = hit.party, hit.facts
                row = (
                    *(hit.alike, hit.score, facts.file, facts.date, facts.digest.hex),
                    *(party.list_name, party.id, party.name, hit.name),
                    "; ".join(party.programmes),
                )
                writer.writerow([as_text(str(cell)) for cell in (*start, *row)])
            if not name.hits:
                writer.writerow([as_text(str(cell)) for cell in (*start, name.alike)])
    return text.getvalue().encode("utf-8-sig")


def as_text(cell: str) -> str:
    """A cell that no spreadsheet evaluates: what begins like a formula gets an apostrophe before
    it, at the start of the cell and after other signs at which a spreadsheet may split a line.
    """
    cell = _AFTER_SEPARATOR.sub(r"\1'", one_line(cell, 2_000))
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell
