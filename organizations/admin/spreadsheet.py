"""Rows as a CSV file that people open with a spreadsheet."""

import csv
from collections.abc import Iterable
from datetime import datetime
from typing import Final

MARK: Final = "\ufeff".encode()  # first in the file, for Excel
# A cell that begins so is a formula to a spreadsheet.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

Cell = str | int | datetime | None  # bool is an int


class _Echo:
    """Where a csv.writer writes, only to return it."""

    def write(self, text: str) -> str:
        return text


def encoded(rows: Iterable[Iterable[Cell]]) -> bytes:
    """These rows in UTF-8."""
    writer = csv.writer(_Echo())
    return "".join(writer.writerow([safe(cell) for cell in row]) for row in rows).encode(errors="replace")


def safe(cell: Cell) -> str | int:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers."""
    match cell:
        case None:
            return ""
        case bool():
            return "yes" if cell else "no"
        case datetime():
            return f"{cell:%Y-%m-%d %H:%M:%S}"
        case str() if cell.startswith(FORMULA):
            return f"'{cell}"
        case _:
            return cell
