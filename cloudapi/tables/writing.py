"""Writing rows to a file, CSV or XLSX, as they come from the database: the memory does not grow with their number."""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

from django.db import connection
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

from cloudapi.tables.table import Table
from organizations.admin.spreadsheet import MARK, Cell, encoded
from organizations.models import FileJob

CHUNK: Final = 500  # rows at once
# Rows of a file that a request makes while somebody waits for it, at some 10,000 a second; larger ones a worker makes.
AT_ONCE: Final = {FileJob.Format.CSV: 20_000, FileJob.Format.XLSX: 5_000}
MOST: Final = {FileJob.Format.CSV: None, FileJob.Format.XLSX: 2**20 - 1}  # rows below the heads
LONGEST: Final = 32_767  # characters of a cell of XLSX
EXACT: Final = 10**15  # from here on a spreadsheet rounds numbers
CONTENT_TYPES: Final = {
    FileJob.Format.CSV: "text/csv; charset=utf-8",
    FileJob.Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class File(Protocol):
    """Where a file is written, front to back."""

    def write(self, data: bytes, /) -> int: ...


class TooManyError(Exception):
    """The list has more rows than a file of this format may have."""


def write(
    table: Table, queryset: Any, kind: FileJob.Format, file: File, note: Callable[[int], None] = lambda _count: None
) -> int:
    """Write the rows of a list to a file; returns how many there were. `note` gets the number of rows so far.

    Raises TooManyError.
    """
    columns = table.columns()
    count, most = 0, MOST[kind]

    def rows() -> Iterator[list[Cell]]:
        nonlocal count
        for chunk in chunks(table.rows(queryset), queryset):
            for row in chunk:
                yield [column.value(row) for column in columns]
            count += len(chunk)
            if most is not None and count > most:
                raise TooManyError
            note(count)

    heads = [column.head for column in columns]
    if kind == FileJob.Format.XLSX:
        write_xlsx(heads, rows(), file)
    else:
        write_csv(heads, rows(), file)
    return count


def chunks(rows: Any, queryset: Any) -> Iterator[list[Any]]:
    """The rows, CHUNK at a time, in the order of the queryset: its keys come first, with a cursor of the server.

    Of a list with a million rows the server keeps only keys, and what is beside a row is read for those of one chunk.
    """
    keys = queryset.values_list("pk", flat=True)
    # SQLite's cursor would hold a view of the database, in which this process could write nothing.
    left = iter(list(keys) if connection.vendor == "sqlite" else keys.iterator(chunk_size=20 * CHUNK))
    while wanted := list(islice(left, CHUNK)):
        found = rows.in_bulk(wanted)
        yield [found[key] for key in wanted if key in found]


def write_csv(heads: Sequence[str], rows: Iterable[Sequence[Cell]], file: File) -> None:
    """UTF-8 with a mark, for Excel."""
    file.write(MARK + encoded([heads]))
    left = iter(rows)
    while chunk := list(islice(left, CHUNK)):
        file.write(encoded(chunk))


def write_xlsx(heads: Sequence[str], rows: Iterable[Sequence[Cell]], file: File) -> None:
    """One sheet, which openpyxl writes to the disk row by row."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.freeze_panes = "A2"
    for number, head in enumerate(heads, 1):
        sheet.column_dimensions[get_column_letter(number)].width = max(12, min(40, len(head) + 4))
    bold = [WriteOnlyCell(sheet, head) for head in heads]
    for cell in bold:
        cell.font = Font(bold=True)
    sheet.append(bold)
    try:
        for row in rows:
            sheet.append([xlsx_cell(sheet, cell) for cell in row])
        book.save(file)
    except BaseException:
        sheet.close()  # else openpyxl's half sheet stays on the disk, and its writer complains when it is collected
        raise


def delete_left_over() -> None:
    """Delete half sheets of workers that were killed: a day old, and our user's."""
    for file in Path(tempfile.gettempdir()).glob("openpyxl.*"):
        with suppress(OSError):
            found = file.stat()
            if found.st_uid == os.getuid() and found.st_mtime < time.time() - 86_400:
                file.unlink()


def xlsx_cell(sheet: Any, cell: Cell) -> object:
    """A cell that Excel takes for what it is: text that looks like a formula stays text."""
    match cell:
        case bool():
            return "yes" if cell else "no"
        case datetime():
            return cell.astimezone(UTC).replace(tzinfo=None, microsecond=0)
        case int() if abs(cell) >= EXACT:
            return str(cell)
        case str():
            text = ILLEGAL_CHARACTERS_RE.sub("", cell)[:LONGEST]
            if not text.startswith(("=", "#")):
                return text
            written = WriteOnlyCell(sheet, text)
            written.data_type = "s"
            return written
    return cell
