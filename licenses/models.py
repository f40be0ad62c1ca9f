"""Unlock licenses as a dock reported them and when it did; license files for docks, and who fetched them."""

from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Count, Exists, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, Substr, Upper
from django.db.models.lookups import Exact
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from devices.models import Device, ServiceCall
from devices.templatetags.moments import exact
from organizations.changing import ChangingModel, ChangingQuerySet
from organizations.models import Organization, OrganizationAPIKey
from organizations.tenancy import TenantModel, TenantQuerySet

BOX = ("west", "south", "east", "north")
INT8 = 2**63  # beyond what a license id can be


class Inventory(models.IntegerChoices):
    """DJI's `device_model_domain`: where a list of licenses was read from."""

    AIRCRAFT = 0, _("imported in the aircraft")
    DOCK = 3, _("approved for the dock")


# A license in both inventories is shown as the aircraft's row.
LISTED = Q(device_model_domain=Inventory.AIRCRAFT) | Q(in_other_inventory=False)


class UnlockLicenseQuerySet(ChangingQuerySet["UnlockLicense"]):
    """Unlock licenses."""

    def listed(self) -> Self:
        """Each license of a dock once: the aircraft's row, else the dock's."""
        return self.filter(LISTED)

    def matching(self, term: str) -> Self:
        """Licenses by a search term: a part of their name or of the dock's, a whole license id or serial number."""
        docks = Device.objects.filter(Q(sn__icontains=term) | Q(callsign__icontains=term))
        found = Q(device__in=docks.first_keys()) | Q(name__icontains=term) | Q(device_sn__iexact=term)
        if term.removeprefix("-").isdecimal() and len(term) < 21 and -INT8 <= int(term) < INT8:
            found |= Q(license_id=int(term))
        return self.filter(found)

    def in_box(self, west: float, south: float, east: float, north: float) -> Self:
        """Licenses whose place is at least partly in this box."""
        return self.filter(west__lte=east, east__gte=west, south__lte=north, north__gte=south)

    def with_reading(self) -> Self:
        """Adds `complete_at`, when the last complete list of its inventory was read."""
        lists = LicenseList.objects.filter(
            device=OuterRef("device"),
            device_model_domain=OuterRef("device_model_domain"),
            applied=True,
            complete=True,
        )
        return self.annotate(complete_at=Subquery(lists.order_by("-asked_at").values("fetched_at")[:1]))

    def in_window(self, now: datetime) -> Self:
        """Begun and not yet over, enabled or not."""
        return self.filter(Q(begin_time=None) | Q(begin_time__lte=now), Q(end_time=None) | Q(end_time__gt=now))

    def in_force(self, now: datetime) -> Self:
        """Enabled, and within their window."""
        return self.in_window(now).filter(enabled=True)

    def expired_but_enabled(self, now: datetime) -> Self:
        """Enabled though their window is over, so that people may wrongly rely on them."""
        return self.filter(enabled=True, end_time__lte=now)

    def expiring(self, now: datetime, *, days: int) -> Self:
        """Enabled and over within so many days."""
        return self.filter(enabled=True, end_time__gt=now, end_time__lte=now + timedelta(days=days))


class UnlockLicense(ChangingModel):
    """One unlock license in one of a dock's two inventories; the named fields are DJI's, None means not reported."""

    organization_path = "device__organization"

    device = models.ForeignKey(Device, models.CASCADE, related_name="unlock_licenses")  # the dock asked
    device_model_domain = models.PositiveSmallIntegerField(_("inventory"), choices=Inventory)
    license_id = models.BigIntegerField()
    name = models.CharField(max_length=256, blank=True)
    type = models.BigIntegerField(null=True)
    group_id = models.BigIntegerField(null=True)
    user_id = models.CharField(max_length=256, blank=True)
    device_sn = models.CharField(max_length=64, blank=True)
    begin_time = models.DateTimeField(null=True)
    end_time = models.DateTimeField(null=True)
    user_only = models.BooleanField(null=True)
    enabled = models.BooleanField(null=True)
    details = models.JSONField(default=dict)  # the sub-struct of its type
    raw = models.JSONField(default=dict)  # all of it as it came
    note = models.TextField(_("note"), blank=True)
    seen_at = models.DateTimeField(default=timezone.now)  # when a list first held it in this form
    # Whether the dock's other inventory has it too.
    in_other_inventory = models.BooleanField(default=False, db_default=False, editable=False)

    # The box around its place in degrees, None without one. Beyond 180 longitudes run on.
    west = models.FloatField(null=True, editable=False)
    south = models.FloatField(null=True, editable=False)
    east = models.FloatField(null=True, editable=False)
    north = models.FloatField(null=True, editable=False)

    complete_at: datetime | None  # of the rows of `with_reading()` only

    objects: ClassVar[UnlockLicenseQuerySet] = UnlockLicenseQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("device", "device_model_domain", "license_id")
        constraints = [
            models.UniqueConstraint(
                fields=["device", "device_model_domain", "license_id"],
                name="one_license_per_device_and_domain",
            ),
        ]
        indexes = [
            models.Index(fields=["end_time"], condition=Q(enabled=True), name="license_enabled_end"),  # expiry
            models.Index(fields=["end_time", "id"], name="license_end"),  # in order
            # lists in every order, their lengths and the map's groups, without the rows
            models.Index(
                fields=["end_time", "id"],
                include=["device", "type", "enabled", "name", *BOX],
                condition=LISTED,
                name="license_listed",
            ),
            models.Index(fields=["begin_time", "id"], name="license_begin"),  # in order
            models.Index(fields=["updated", "id"], name="license_changes"),  # in order
            models.Index(fields=["license_id"], name="license_search_id"),
            models.Index(Upper("device_sn"), name="license_search_bound_to"),
        ]
        verbose_name = _("unlock license")
        verbose_name_plural = _("unlock licenses")

    def __str__(self) -> str:
        return self.name or str(self.license_id)


class LicenseList(TenantModel):
    """One answered list of one inventory of a dock."""

    organization_path = "device__organization"

    device = models.ForeignKey(Device, models.CASCADE, related_name="license_lists")
    device_model_domain = models.PositiveSmallIntegerField(_("inventory"), choices=Inventory)
    consistence = models.BooleanField(_("consistent, by the dock"), null=True)  # whether both inventories are the same
    complete = models.BooleanField(_("complete"))  # whether it told of every license; only then others are gone
    applied = models.BooleanField(_("applied"), default=True)  # False: a later list had been answered before
    count = models.PositiveIntegerField(null=True)  # licenses in the answer; none: it held no list
    asked_at = models.DateTimeField(default=timezone.now)
    fetched_at = models.DateTimeField(_("read"))
    call = models.ForeignKey(ServiceCall, models.SET_NULL, null=True, related_name="license_lists")

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-fetched_at",)
        indexes = [
            models.Index(fields=["device", "device_model_domain", "-asked_at"], name="license_list_latest"),
            models.Index(fields=["asked_at"], name="license_list_asked_at"),  # pruning
            # docks whose last word is that their inventories differ
            models.Index(
                fields=["device", "-asked_at"],
                condition=Q(applied=True, consistence__isnull=False),
                name="license_list_consistence",
            ),
        ]
        verbose_name = _("license list")
        verbose_name_plural = _("license lists")

    def __str__(self) -> str:
        values = {"inventory": self.get_device_model_domain_display(), "dock": self.device.sn}
        return gettext("{inventory} of {dock} at {moment}").format(**values, moment=exact(self.fetched_at))

    @classmethod
    def conditions_on_docks(cls) -> dict[str, Q]:
        """Docks by what was read: "never" at least one inventory, "inconsistent" by the dock's own last word."""
        lists = cls.objects.filter(device=OuterRef("pk"), applied=True)
        read = Q(Exists(lists.filter(device_model_domain=Inventory.AIRCRAFT)))
        read &= Q(Exists(lists.filter(device_model_domain=Inventory.DOCK)))
        words = lists.exclude(consistence=None).order_by("-asked_at").values("consistence")
        return {"never": ~read, "inconsistent": Q(Exact(Subquery(words[:1]), False))}


class LicenseEvent(TenantModel):
    """What became of a license by lists and switches; it stays with the organization that owned the dock then."""

    class Kind(models.TextChoices):
        APPEARED = "appeared", _("Appeared")
        VANISHED = "vanished", _("Vanished")
        ENABLED = "enabled", _("Enabled")
        DISABLED = "disabled", _("Disabled")
        CHANGED = "changed", _("Changed")

    device = models.ForeignKey(Device, models.CASCADE, related_name="license_events")
    organization = models.ForeignKey(
        Organization, models.PROTECT, related_name="license_events", verbose_name=_("organization")
    )
    device_model_domain = models.PositiveSmallIntegerField(_("inventory"), choices=Inventory)
    license_id = models.BigIntegerField(_("license ID"))
    name = models.CharField(_("name"), max_length=256, blank=True)
    kind = models.CharField(_("kind"), max_length=8, choices=Kind)
    at = models.DateTimeField(_("happened"))
    call = models.ForeignKey(ServiceCall, models.SET_NULL, null=True, related_name="license_events")
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-at", "-pk")
        indexes = [
            models.Index(fields=["device", "device_model_domain", "license_id", "-at"], name="license_event_history"),
            models.Index(fields=["at"], name="license_event_at"),  # pruning
        ]
        verbose_name = _("license event")
        verbose_name_plural = _("license events")

    def __str__(self) -> str:
        values = {"about": self.name or self.license_id, "text": self.get_kind_display()}
        return gettext("{about}: {text}").format(**values)


class LicenseFileQuerySet(TenantQuerySet["LicenseFile"]):
    """License files."""

    def with_downloads(self) -> Self:
        """Adds `finished`: how often one was fetched from its first byte to its last."""
        finished = LicenseFileDownload.objects.filter(file=OuterRef("pk"), outcome=LicenseFileDownload.Outcome.FINISHED)
        counted = finished.order_by().values("file").annotate(count=Count("pk")).values("count")
        return self.annotate(finished=Coalesce(Subquery(counted), 0))

    def bytes_of(self, pk: int, offset: int, length: int) -> bytes:
        """At most `length` bytes of a file's content from `offset` on; b"" behind its end or if it is gone."""
        part = Substr("content", offset + 1, length, output_field=models.BinaryField())
        found = self.filter(pk=pk).values_list(part, flat=True).first()
        return bytes(found or b"")


class LicenseFileManager(models.Manager.from_queryset(LicenseFileQuerySet)):  # type: ignore[misc]  # made at run time
    """License files without their content: megabytes that a list, a join or a form must not load."""

    def get_queryset(self) -> LicenseFileQuerySet:
        rows: LicenseFileQuerySet = super().get_queryset().defer("content")
        return rows


class LicenseFile(TenantModel):
    """An offline license file, uploaded for the docks of an organization and never changed afterwards.

    It is in the database because several web processes serve it and share no disk.
    """

    already_there = False  # set by `licenses.files.store` if these bytes had been uploaded before
    finished: int  # of the rows of `with_downloads()` only

    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="license_files", verbose_name=_("organization")
    )
    name = models.CharField(
        _("name"), max_length=255, help_text=_("As uploaded, without what a file name must not hold.")
    )
    md5 = models.CharField("MD5", max_length=32, help_text=_("Of the exact bytes, lower-case hex: DJI's fingerprint."))
    size = models.PositiveBigIntegerField(_("size"), help_text=_("Bytes."))
    content = models.BinaryField()
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    uploaded_with = models.ForeignKey(
        OrganizationAPIKey, models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    created = models.DateTimeField(_("uploaded"), default=timezone.now)

    objects: ClassVar[LicenseFileManager] = LicenseFileManager()

    class Meta:
        ordering = ("-created", "-pk")
        base_manager_name = "objects"  # what a foreign key leads to comes without content too
        constraints = [
            models.UniqueConstraint(fields=["organization", "md5"], name="one_license_file_per_organization_and_md5"),
        ]
        indexes = [
            models.Index(fields=["organization", "-created"], name="license_file_organization"),  # a tenant's list
        ]
        verbose_name = _("license file")
        verbose_name_plural = _("license files")

    def __str__(self) -> str:
        return self.name


class LicenseFileDownload(TenantModel):
    """A download of a license file by a dock, a person or a program, or a refused one by a signed address."""

    class Outcome(models.TextChoices):
        BROKEN_OFF = "broken_off", _("not finished")
        FINISHED = "finished", _("finished")
        EXPIRED = "expired", _("refused: the address had expired")

    organization_path = "file__organization"

    file = models.ForeignKey(LicenseFile, models.CASCADE, related_name="downloads")
    at = models.DateTimeField(default=timezone.now)
    sent = models.PositiveBigIntegerField(default=0)  # bytes handed to the network
    remote_address = models.GenericIPAddressField(null=True)
    # For which the address was made.
    call = models.ForeignKey(ServiceCall, models.SET_NULL, null=True, related_name="+")
    # A person; none and no key is a dock.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    api_key = models.ForeignKey(OrganizationAPIKey, models.SET_NULL, null=True, related_name="+")
    outcome = models.CharField(max_length=16, choices=Outcome, default=Outcome.BROKEN_OFF)

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-at", "-pk")
        indexes = [
            models.Index(fields=["file", "-at"], name="license_download_file"),  # the latest of a file
            models.Index(fields=["at"], name="license_download_at"),  # pruning
        ]
        verbose_name = _("download")
        verbose_name_plural = _("downloads")

    def __str__(self) -> str:
        return f"{self.get_outcome_display()}, {exact(self.at)}"
