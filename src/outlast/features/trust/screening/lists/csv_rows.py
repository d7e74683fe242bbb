"""Rows of a table in CSV, by the names of their columns. Cells are text, whatever they look like: a
formula is never evaluated.
"""

import csv
from collections.abc import Iterator
from typing import Final

from outlast.features.trust.screening.lists.list_file import ListFile, malformed

Row = dict[str, str]
_END: Final = "\x1a"
"""A line of its own that some of the US lists end with."""


def read_rows(file: ListFile, delimiter: str, marker: str) -> tuple[list[list[str]], Iterator[Row]]:
    """The rows before the header, and those after it. The header is the first row that has a cell
    `marker`. A row that is short lacks its last cells; one that is too long is an error.
    """
    rows = _cells(file, delimiter)
    before: list[list[str]] = []
    for cells in rows:
        names = [cell.strip() for cell in cells]
        if marker in names:
            if len(set(filter(None, names))) != len(list(filter(None, names))):
                raise malformed(file.name, "two of its columns have one name")
            return before, _rows(file, names, rows)
        before.append(cells)
        if len(before) > 5:
            break
    raise malformed(file.name, f"it has no column {marker!r}")


def _rows(file: ListFile, names: list[str], rows: Iterator[list[str]]) -> Iterator[Row]:
    count = 0
    for cells in rows:
        if not any(cells) or cells == [_END]:
            continue
        count += 1
        if count > file.tuning.rows:
            raise malformed(file.name, f"it has more than {file.tuning.rows:,} rows")
        if len(cells) < len(names) and not file.ends_whole:
            raise malformed(file.name, "it ends in the middle of a row")
        if len(cells) > len(names) and any(cells[len(names) :]):
            raise malformed(file.name, f"row {count} has more cells than the header")
        found = dict.fromkeys(names, "")
        found.update(zip(names, (cell.strip() for cell in cells), strict=False))
        yield found


def _cells(file: ListFile, delimiter: str) -> Iterator[list[str]]:
    """Rows as they are. A quoted cell may go over several lines; the whole row is bounded."""
    taken = 0

    def lines() -> Iterator[str]:
        nonlocal taken
        for line in file.lines():
            taken += len(line)
            if taken > 2 * file.tuning.line:
                raise malformed(file.name, "a row has too many characters: a quote is not closed")
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            taken = 0
            yield cells
    except csv.Error as error:
        raise malformed(file.name, f"line {reader.line_num}: {error}") from None
