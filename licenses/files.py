"""License files: stored as uploaded, fetched by docks at signed addresses that expire, every download logged.

Nothing in a file is trusted or unpacked. The server fetches no address and sends only its own.
"""

import hashlib
import re
import unicodedata
import uuid
from collections.abc import Iterator
from typing import NamedTuple

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.core.signing import BadSignature, SignatureExpired, TimestampSigner
from django.core.validators import validate_ipv46_address
from django.db import transaction
from django.db.models import Count, Sum
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.translation import gettext, ngettext

from devices.calls.methods import UPDATE
from devices.calls.refusal import Refused
from devices.models import ServiceCall
from licenses.models import LicenseFile, LicenseFileDownload
from mqtt_bridge.protocol import licenses as protocol
from organizations import audit
from organizations.audit import Actor
from organizations.models import Organization

FILES = 1000  # of one organization
NAME_LENGTH = 100  # characters; DJI's own names are shorter
PIECE = 256 * 2**10  # bytes in memory at a time, of each download
# A point is safe in a path everywhere; Django's colon is not.
SIGNER = TimestampSigner(salt="licenses.LicenseFile", sep=".")


class FileInUseError(Exception):
    """A dock may still fetch this file."""

    problem = (409, "in_use")  # status and type in REST


class FileTooLargeError(ValidationError):
    """More than LICENSE_FILE_CAP."""

    problem = (413, "too_large")  # status and type in REST

    def __init__(self) -> None:
        text = gettext("The file is too large: more than {size}.")
        super().__init__(text.format(size=filesizeformat(settings.LICENSE_FILE_CAP)))


class Ticket(NamedTuple):
    """What a signed address stands for."""

    file: LicenseFile
    call: ServiceCall | None
    is_expired: bool


# --- upload, delete --------------------------------------------------------------------------------


def clean_name(name: str) -> str:
    """A file name for display and download: the last part of a path, without control, bidi or quoting characters.

    Cut to NAME_LENGTH characters, its extension kept.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    shown = "".join(" " if character.isspace() else character for character in last)
    shown = "".join(character for character in shown if unicodedata.category(character)[0] != "C")
    shown = re.sub(r'["*:;<>?|%]', "_", " ".join(shown.split())).lstrip(". ")
    stem, dot, extension = shown.rpartition(".")
    if len(shown) > NAME_LENGTH and dot and len(extension) <= 10:
        return f"{stem[: NAME_LENGTH - len(extension) - 1]}.{extension}"
    return shown[:NAME_LENGTH] or "license-file"


def read(upload: "UploadedFile[bytes]") -> bytes:
    """The bytes of an upload.

    Raises ValidationError for an empty file, and FileTooLargeError, which is one, beyond LICENSE_FILE_CAP; no more
    than that is read.
    """
    cap = settings.LICENSE_FILE_CAP
    if upload.size is not None and upload.size > cap:
        raise FileTooLargeError
    upload.seek(0)
    content: bytes = upload.read(cap + 1)
    if len(content) > cap:
        raise FileTooLargeError
    if not content:
        raise ValidationError(gettext("The file is empty."))
    return content


def store(*, organization: Organization, upload: "UploadedFile[bytes]", actor: Actor) -> LicenseFile:
    """Keep an uploaded file for the docks of an organization, audited.

    Returns the stored row, with `already_there` set, for bytes that the organization has already. Raises
    ValidationError for what `read` refuses, for more than LICENSE_FILES_CAP of one organization, and for other bytes
    with the MD5 of a stored file: a dock could not distinguish them.
    """
    content = read(upload)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    fields = {
        "name": clean_name(upload.name or ""),
        "size": len(content),
        "content": content,
        "uploaded_by": actor.user,
        "uploaded_with": actor.key,
    }
    with transaction.atomic():
        row, is_new = LicenseFile.objects.get_or_create(organization=organization, md5=md5, defaults=fields)
        if is_new:
            kept = LicenseFile.objects.filter(organization=organization).aggregate(files=Count("pk"), size=Sum("size"))
            if kept["files"] > FILES or kept["size"] > settings.LICENSE_FILES_CAP:
                text = gettext(
                    "{organization} may have at most {count} license files, and {size} of them. Delete some that no "
                    "dock needs any more."
                )
                size = filesizeformat(settings.LICENSE_FILES_CAP)
                raise ValidationError(text.format(organization=organization.name, count=FILES, size=size))
            after = {"name": row.name, "size": row.size, "md5": md5}
            audit.record([audit.event(actor, "upload", row, organization_id=organization.pk, after=after)])
        elif not LicenseFile.objects.filter(pk=row.pk, content=content).exists():
            text = gettext("This file differs from {file} but has the same MD5: one of them is forged.")
            raise ValidationError(text.format(file=row.name))
    stored: LicenseFile = row
    stored.already_there = not is_new
    return stored


def calls_using(file: LicenseFile) -> int:
    """How many open service calls may still make a dock fetch this file."""
    calls = ServiceCall.objects.open().filter(organization=file.organization_id, method=UPDATE)
    return calls.filter(data__license_file=file.pk).count()


def delete(file: LicenseFile, *, actor: Actor) -> None:
    """Delete a file with its download log, audited. Raises FileInUseError while an open service call uses it."""
    with transaction.atomic():
        locked = LicenseFile.objects.select_for_update(of=("self",)).filter(pk=file.pk)
        for row in locked:
            if count := calls_using(row):
                text = ngettext(
                    "{file} is in use by {n} open command. Wait until it has ended.",
                    "{file} is in use by {n} open commands. Wait until they have ended.",
                    count,
                )
                raise FileInUseError(text.format(file=row.name, n=count))
            before = {"name": row.name, "size": row.size, "md5": row.md5, "downloads": row.downloads.count()}
            audit.record([audit.event(actor, "delete", row, organization_id=row.organization_id, before=before)])
            row.delete()


# --- what a dock is sent -----------------------------------------------------------------------------


def signed_url(file: LicenseFile, *, call: ServiceCall | None = None) -> str:
    """An address on PUBLIC_URL where this file can be fetched without a session for LICENSE_FILE_URL_SECONDS.

    The name at its end is for docks that name a download after its address; nothing depends on it.
    """
    token = SIGNER.sign(f"{file.pk}.{call.pk.hex if call else ''}")
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", file.name).strip("._")  # letters that need no quoting
    return f"{settings.PUBLIC_URL}{reverse('license_file', args=[token, name or 'license'])}"


def payload(call: ServiceCall) -> protocol.LicenseUpdateRequest:
    """What goes out for an `unlock_license_update` call: `{}` for FlySafe's newest, or a file by a fresh address.

    The stored data is `{}` or `{"license_file": <primary key>}`. Raises Refused (invalid) for anything else, and
    for a file that is gone or not the organization's.
    """
    if call.data == {}:
        return protocol.LicenseUpdateRequest()
    key = call.data.get("license_file")
    if set(call.data) != {"license_file"} or type(key) is not int:
        raise Refused(Refused.Kind.INVALID, gettext("Name an uploaded license file by its number, and nothing else."))
    file = LicenseFile.objects.filter(pk=key, organization=call.organization_id).first()
    if file is None:
        raise Refused(Refused.Kind.INVALID, gettext("There is no such license file in the organization of this dock."))
    return protocol.LicenseUpdateRequest(
        file=protocol.LicenseFile(url=signed_url(file, call=call), fingerprint=file.md5)
    )


# --- download ----------------------------------------------------------------------------------------


def redeem(token: str) -> Ticket | None:
    """What the token of an address stands for, expired or not; None for a forged one, or if the file is gone."""
    try:
        value = SIGNER.unsign(token)
    except BadSignature:
        return None
    key, _, call = value.partition(".")
    file = LicenseFile.objects.filter(pk=int(key)).first()
    if file is None:
        return None
    asked = ServiceCall.objects.filter(pk=uuid.UUID(call)).first() if call else None
    try:
        SIGNER.unsign(token, max_age=settings.LICENSE_FILE_URL_SECONDS)
    except SignatureExpired:
        return Ticket(file, asked, is_expired=True)
    return Ticket(file, asked, is_expired=False)


def log(file: LicenseFile, *, remote_address: str | None, **fields: object) -> LicenseFileDownload:
    """Note a download that begins or is refused; `remote_address` is noted if it is an IP address."""
    try:
        validate_ipv46_address(remote_address or "")
    except ValidationError:
        remote_address = None
    return LicenseFileDownload.objects.create(file=file, remote_address=remote_address, **fields)


class Transfer:
    """A download under way: the sender adds what it sent of `read` to `sent` (bytes), and closes in the end.

    "Finished" in the log means that every byte was handed to the network, no more.
    """

    def __init__(self, download: LicenseFileDownload) -> None:
        self._download = download
        self.sent = 0

    def read(self) -> bytes:
        """The next piece; b"" at the end, and if the file has been deleted since."""
        piece: bytes = LicenseFile.objects.bytes_of(self._download.file_id, self.sent, PIECE)
        return piece

    def pieces(self) -> Iterator[bytes]:
        """All of it, piece by piece, counted as sent once the next is asked for, and closed in the end."""
        try:
            while not self.is_complete and (piece := self.read()):
                yield piece
                self.sent += len(piece)
        finally:
            self.close()

    @property
    def is_complete(self) -> bool:
        return self.sent == self._download.file.size

    def close(self) -> None:
        """Note how far it came."""
        outcome = LicenseFileDownload.Outcome.FINISHED if self.is_complete else LicenseFileDownload.Outcome.BROKEN_OFF
        LicenseFileDownload.objects.filter(pk=self._download.pk).update(sent=self.sent, outcome=outcome)
