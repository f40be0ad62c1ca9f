"""Tables that people import and export as files."""

import uuid
from typing import ClassVar, Final, Self

from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from organizations.models.audit import AuditEvent
from organizations.models.keys import OrganizationAPIKey
from organizations.models.members import Role
from organizations.models.organizations import Organization
from organizations.tenancy import TenantModel, TenantQuerySet

# The model of each table that has a name of its own; the others are named after theirs.
MODELS: Final = {
    "audit-events": "organizations.AuditEvent",
    "binding-codes": "organizations.BindingCode",
    "connections": "devices.DockConnection",
    "devices": "devices.Device",
    "exchanges": "mqtt_bridge.Exchange",
    "invitations": "organizations.Invitation",
    "licenses": "licenses.UnlockLicense",
    "members": "organizations.Membership",
    "service-calls": "devices.ServiceCall",
}


def model_of(table: str) -> type[models.Model] | None:
    """Whose rows a table has; None for a model that is no longer there."""
    try:
        return apps.get_model(MODELS.get(table, table))
    except (LookupError, ValueError):
        return None


class FileJobManager(models.Manager.from_queryset(TenantQuerySet)):  # type: ignore[misc]  # made at run time
    """Jobs without their files: megabytes that a list, a join or a question for the progress must not load."""

    def get_queryset(self) -> TenantQuerySet["FileJob"]:
        rows: TenantQuerySet[FileJob] = super().get_queryset().defer("source", "result")
        return rows


class FileJob(TenantModel):
    """An import or export that a worker carries out, because it takes longer than a request may.

    Without an organization it may hold rows of several, and is for whoever asked for it. The files are in the database
    because worker and web processes share no disk; retention deletes them with the row.
    """

    class Kind(models.TextChoices):
        IMPORT = "import", _("import")
        EXPORT = "export", _("export")

    class Format(models.TextChoices):
        CSV = "csv", "CSV"
        XLSX = "xlsx", "XLSX"

    class Status(models.TextChoices):
        WAITING = "waiting", _("to be confirmed")  # by the person who uploaded it; nothing is changed yet
        QUEUED = "queued", _("waiting")  # for a worker
        RUNNING = "running", _("running")
        SUCCEEDED = "succeeded", _("succeeded")
        FAILED = "failed", _("failed")
        CANCELED = "canceled", _("canceled")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="file_jobs",
        verbose_name=_("organization"),
        db_index=False,  # `file_job_organization`
    )
    kind = models.CharField(_("kind"), max_length=6, choices=Kind)
    table = models.CharField(_("table"), max_length=40)
    format = models.CharField(_("format"), max_length=4, choices=Format)
    query = models.CharField(
        _("filter"), max_length=2000, blank=True, help_text=_("The query string of the list that is exported.")
    )
    language = models.CharField(_("language"), max_length=16, blank=True, help_text=_("Of the heads in the file."))
    through = models.CharField(
        max_length=10,
        choices=AuditEvent.Through,
        default=AuditEvent.Through.ADMIN,
        db_default=AuditEvent.Through.ADMIN,
    )
    dry_run = models.BooleanField(
        _("dry run"), default=False, db_default=False, help_text=_("It changes nothing, and shows what it would.")
    )
    # That the requester had, for who has less may not see all that the file holds; "": platform staff.
    role = models.CharField(max_length=10, choices=Role, blank=True, default="", db_default="", editable=False)
    # The primary keys of the organizations whose rows it may hold; empty: all.
    reach = models.JSONField(default=list, db_default=[], blank=True, editable=False)
    status = models.CharField(_("status"), max_length=9, choices=Status, default=Status.WAITING)
    done = models.PositiveIntegerField(_("rows done"), default=0)
    total = models.PositiveIntegerField(_("rows"), null=True, blank=True, help_text=_("Empty: not counted yet."))
    errors = models.JSONField(
        _("errors"),
        default=list,
        blank=True,
        help_text=_("Each: its row, its code, the values of its sentence."),
    )
    request_id = models.UUIDField(
        _("request"), default=uuid.uuid4, editable=False, help_text=_("Of its rows in the audit trail.")
    )
    outcome = models.JSONField(
        _("outcome"), default=dict, db_default={}, blank=True, help_text=_("Of an import: how many rows, and which.")
    )
    source = models.BinaryField(_("uploaded file"), null=True)
    result = models.BinaryField(_("file"), null=True)  # of what is shown once, encrypted; other files are in pieces
    size = models.PositiveBigIntegerField(_("size"), default=0, db_default=0, help_text=_("Bytes of the file."))
    stored = models.PositiveBigIntegerField(default=0, db_default=0)  # bytes that it takes in the database
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("user")
    )
    requested_with = models.ForeignKey(
        OrganizationAPIKey, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("API key")
    )
    created = models.DateTimeField(_("created"), default=timezone.now)
    started = models.DateTimeField(_("started"), null=True, blank=True)
    run = models.UUIDField(null=True, blank=True, editable=False)  # of the worker that has it now
    runs = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)
    alive_at = models.DateTimeField(null=True, blank=True, editable=False)
    finished = models.DateTimeField(_("finished"), null=True, blank=True)

    objects: ClassVar[FileJobManager] = FileJobManager()

    class Meta:
        ordering = ("-created", "-pk")
        base_manager_name = "objects"  # what a foreign key leads to comes without files too
        indexes = [
            models.Index(fields=["organization", "-created"], name="file_job_organization"),  # a tenant's list
            models.Index(fields=["created"], name="file_job_created"),  # pruning, platform staff's list
        ]
        verbose_name = _("file")
        verbose_name_plural = _("files")

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.rows_name}"

    @property
    def rows_name(self) -> str:
        """What is imported or exported: "devices"."""
        model = model_of(self.table)
        return self.table if model is None else str(model._meta.verbose_name_plural)

    @property
    def is_open(self) -> bool:
        """Whether a worker has it, or will take it."""
        return self.status in OPEN_JOBS

    @property
    def percent(self) -> int | None:
        """How much is done; None while the rows are not counted."""
        return None if not self.total else min(100, 100 * self.done // self.total)

    @property
    def asked_by(self) -> AbstractBaseUser | OrganizationAPIKey | None:
        """The user or key that asked for it; None once they are deleted."""
        return self.requested_by or self.requested_with


OPEN_JOBS = (FileJob.Status.QUEUED, FileJob.Status.RUNNING)


class FilePiece(TenantModel):
    """A part of the file of a job, compressed with zlib."""

    organization_path = "job__organization"

    job = models.ForeignKey(FileJob, models.CASCADE, related_name="pieces", db_index=False)  # `one_piece_of_a_number`
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("job", "number")
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="one_piece_of_a_number")]

    def __str__(self) -> str:
        return f"{self.job_id} {self.number}"
