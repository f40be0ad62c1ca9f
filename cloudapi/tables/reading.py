"""Reading a file that a person uploads, CSV or XLSX, as rows of text: it may be anything, and be meant to do harm."""

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from django.utils.translation import gettext as _
from openpyxl import load_workbook
from tablib import Dataset

from organizations.admin.spreadsheet import FORMULA
from organizations.models import FileJob
from organizations.typed import typed

MOST_BYTES: Final = 2 * 2**20
MOST_UNPACKED: Final = 20 * 2**20  # of an XLSX file, which is a ZIP archive
MOST_PARTS: Final = 200  # files in it
MOST_ROWS: Final = 1000  # that a request imports
MOST_EMPTY: Final = 10_000
MOST_COLUMNS: Final = 50
MOST_CELLS: Final = 1_500_000  # of a sheet, with those that are empty: a row may have 18,278 for 30 bytes
LONGEST: Final = 500  # characters of a cell
MAGIC: Final = b"PK\x03\x04"  # of a ZIP archive


class UnreadableError(Exception):
    """Why a file is refused, in words."""


def kind_of(data: bytes) -> FileJob.Format:
    """What the file is, by its first bytes: names of files say anything."""
    return FileJob.Format.XLSX if data.startswith(MAGIC) else FileJob.Format.CSV


def read(data: bytes, *, most: int = MOST_ROWS) -> Dataset:
    """The rows below the heads, each cell as trimmed text; raises UnreadableError."""
    if len(data) > MOST_BYTES:
        raise UnreadableError(_("The file is larger than 2 MB."))
    lines = iter(xlsx_rows(data) if kind_of(data) == FileJob.Format.XLSX else csv_rows(data))
    heads = heads_of(next(lines, []))
    found = Dataset(headers=heads)
    for number, line in enumerate(lines, 2):
        if number - found.height > MOST_EMPTY:
            raise UnreadableError(_("The file has too many empty rows. Delete them."))
        cells = [_cell(text, number) for text in line]
        if any(cells[len(heads) :]):
            raise UnreadableError(_("Row {row} has more cells than there are heads.").format(row=number))
        if not any(cells):
            continue
        if found.height == most:
            raise UnreadableError(_("The file has more than {most} rows. Split it.").format(most=most))
        found.append([*cells, *[""] * (len(heads) - len(cells))][: len(heads)], tags=[str(number)])
    if not found.height:
        raise UnreadableError(_("The file has no rows below its heads."))
    return found


def heads_of(line: Iterable[str]) -> list[str]:
    heads = [_cell(text, 1) for text in line]
    while heads and not heads[-1]:
        heads.pop()
    if not heads:
        raise UnreadableError(_("The first row has no heads."))
    if len(heads) > MOST_COLUMNS:
        raise UnreadableError(_("The file has more than {most} columns.").format(most=MOST_COLUMNS))
    if "" in heads:
        raise UnreadableError(_("Column {number} has no head.").format(number=heads.index("") + 1))
    return heads


def _cell(text: str, row: int) -> str:
    """A cell without outer space, and without the mark that our exports set before what looks like a formula."""
    text = typed(text)
    if len(text) > LONGEST:
        raise UnreadableError(_("Row {row} has a cell of more than {most} characters.").format(row=row, most=LONGEST))
    if "\0" in text:
        raise UnreadableError(_("The file is not text: row {row} has a NUL character.").format(row=row))
    if text.startswith("="):
        raise UnreadableError(_("Row {row} has a formula: {text}. Paste its value instead.").format(row=row, text=text))
    return text[1:] if text.startswith(tuple(f"'{mark}" for mark in FORMULA)) else text


def csv_rows(data: bytes) -> Iterator[list[str]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableError(
            _("The file is neither XLSX nor CSV in UTF-8. In Excel, save it as “CSV UTF-8” or as XLSX.")
        ) from None
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    except csv.Error as error:
        raise UnreadableError(_("The file is not CSV: {error}.").format(error=error)) from None


def xlsx_rows(data: bytes) -> Iterator[list[str]]:
    """The rows of the first sheet; of what could fill the memory or reach elsewhere nothing is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
            # No part unpacks to more than it says: zipfile stops there.
            if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MOST_UNPACKED:
                raise UnreadableError(_("The file unpacks to too much. Copy the rows to a new file."))
            for part in parts:
                # Entities of XML may grow without end; no spreadsheet program defines any.
                if b"<!DOCTYPE" in archive.read(part).replace(b"\0", b""):
                    raise UnreadableError(_("The file is not a plain spreadsheet. Copy the rows to a new file."))
        book = load_workbook(io.BytesIO(data), read_only=True, keep_links=False)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what the file says of its size may be wrong
        cells = 0
        for number, row in enumerate(sheet.iter_rows(), 1):
            cells += len(row)
            if cells > MOST_CELLS:
                raise UnreadableError(_("The file unpacks to too much. Copy the rows to a new file."))
            if any(cell.data_type == "f" for cell in row):
                raise UnreadableError(_("Row {row} has a formula. Paste its value instead.").format(row=number))
            yield [text_of(cell.value) for cell in row]
    except UnreadableError:
        raise
    except Exception as error:  # whatever openpyxl trips over in a file that is broken or made up
        raise UnreadableError(_("The file cannot be read as XLSX. Save it again, or as CSV UTF-8.")) from error


def text_of(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    return "" if value is None else str(value)
