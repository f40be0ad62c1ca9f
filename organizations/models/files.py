"""Tables that people import and export as files."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from organizations.models.keys import OrganizationAPIKey
from organizations.models.organizations import Organization
from organizations.tenancy import TenantModel, TenantQuerySet


class FileJobManager(models.Manager.from_queryset(TenantQuerySet)):  # type: ignore[misc]  # made at run time
    """Jobs without their files: megabytes that a list, a join or a question for the progress must not load."""

    def get_queryset(self) -> TenantQuerySet["FileJob"]:
        rows: TenantQuerySet[FileJob] = super().get_queryset().defer("source", "result")
        return rows


class FileJob(TenantModel):
    """An import or export that a worker carries out, because it takes longer than a request may.

    Without an organization it concerns several, and only platform staff see it. The files are in the database because
    worker and web processes share no disk; retention deletes them with the row.
    """

    class Kind(models.TextChoices):
        IMPORT = "import", _("import")
        EXPORT = "export", _("export")

    class Format(models.TextChoices):
        CSV = "csv", "CSV"
        XLSX = "xlsx", "XLSX"

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("running")
        SUCCEEDED = "succeeded", _("succeeded")
        FAILED = "failed", _("failed")

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
    source = models.BinaryField(_("uploaded file"), null=True)
    result = models.BinaryField(_("file"), null=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("user")
    )
    requested_with = models.ForeignKey(
        OrganizationAPIKey, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("API key")
    )
    created = models.DateTimeField(_("created"), default=timezone.now)
    started = models.DateTimeField(_("started"), null=True, blank=True)
    finished = models.DateTimeField(_("finished"), null=True, blank=True)

    objects: ClassVar[FileJobManager] = FileJobManager()

    class Meta:
        ordering = ("-created", "-pk")
        base_manager_name = "objects"  # what a foreign key leads to comes without files too
        indexes = [
            models.Index(fields=["organization", "-created"], name="file_job_organization"),  # a tenant's list
            models.Index(fields=["created"], name="file_job_created"),  # pruning, platform staff's list
        ]
        verbose_name = _("file job")
        verbose_name_plural = _("file jobs")

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.table}"

    @property
    def asked_by(self) -> AbstractBaseUser | OrganizationAPIKey | None:
        """The user or key that asked for it; None once they are deleted."""
        return self.requested_by or self.requested_with
