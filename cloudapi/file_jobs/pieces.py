"""The file of a job, in pieces in the database: no process holds more than one of them."""

import zlib
from collections.abc import Callable, Iterator
from typing import Final

from organizations.models import FileJob, FilePiece

PIECE: Final = 2**20  # bytes before they are compressed


class PieceWriter:
    """Where an export is written, front to back; `save(data, size)` keeps a piece. Call `close` for the last one."""

    def __init__(self, save: Callable[[bytes, int], None]) -> None:
        self._save = save
        self._gathered = bytearray()

    def write(self, data: bytes) -> int:
        """Take these bytes."""
        self._gathered += data
        while len(self._gathered) >= PIECE:
            self._put(PIECE)
        return len(data)

    def flush(self) -> None:
        """Nothing: a ZIP archive flushes after each part, and pieces have their size."""

    def close(self) -> None:
        """Keep the rest."""
        if self._gathered:
            self._put(len(self._gathered))

    def _put(self, number: int) -> None:
        self._save(zlib.compress(bytes(self._gathered[:number]), 1), number)
        del self._gathered[:number]


def read(job: FileJob) -> Iterator[bytes]:
    """The file, a piece at a time."""
    pieces = FilePiece.objects.filter(job=job.pk).order_by("number")
    number = -1
    while (piece := pieces.filter(number__gt=number).first()) is not None:
        number = piece.number
        yield zlib.decompress(bytes(piece.data))
