"""The door where docks fetch license files, without a session, by a signed address."""

import asyncio
from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from licenses import files
from licenses.models import LicenseFile, LicenseFileDownload

NOTHING = "There is no license file at this address, or the address has expired.\n"


class TransferResponse(StreamingHttpResponse):
    """Pieces that are read one by one from the database, under ASGI and WSGI alike."""

    def __init__(self, transfer: files.Transfer, headers: dict[str, str]) -> None:
        self._transfer = transfer
        super().__init__(transfer.pieces(), headers=headers, content_type="application/octet-stream")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while not self._transfer.is_complete and (piece := await sync_to_async(self._transfer.read)()):
                yield piece
                self._transfer.sent += len(piece)
        finally:
            # A dock that has it all hangs up, and Django cancels what still runs for it.
            await asyncio.shield(sync_to_async(self._transfer.close)())


@require_safe
def license_file(request: HttpRequest, token: str, name: str = "") -> HttpResponseBase:
    """The file that the token stands for; 410 if it has expired, 404 for everything else. The name means nothing."""
    ticket = files.redeem(token)
    if ticket is None:
        return _nothing(404)
    if ticket.is_expired:
        files.log(
            ticket.file,
            call=ticket.call,
            remote_address=request.META.get("REMOTE_ADDR"),
            outcome=LicenseFileDownload.Outcome.EXPIRED,
        )
        return _nothing(410)
    return send(request, ticket.file, call=ticket.call)


def send(request: HttpRequest, file: LicenseFile, **who: object) -> HttpResponseBase:
    """The file as a download and nothing else, logged with `call`, `user` or `api_key`; for HEAD its headers only."""
    headers = {
        "Content-Length": str(file.size),
        "Content-Disposition": content_disposition_header(True, file.name) or "attachment",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
    if request.method == "HEAD":
        return HttpResponse(headers=headers, content_type="application/octet-stream")
    download = files.log(file, remote_address=request.META.get("REMOTE_ADDR"), **who)
    return TransferResponse(files.Transfer(download), headers)


def _nothing(status: int) -> HttpResponse:
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"}
    return HttpResponse(NOTHING, status=status, headers=headers, content_type="text/plain; charset=utf-8")
