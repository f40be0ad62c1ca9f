"""Docks, aircraft and remote controllers, who owns them, and which aircraft belongs to which dock."""

from collections.abc import Collection
from datetime import datetime
from typing import ClassVar, Self

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from devices.models.grouping import DeviceLabel, Label, Site
from mqtt_bridge.protocol import model_keys
from organizations.changing import ChangingModel, ChangingQuerySet
from organizations.models import BindingCode, Organization
from organizations.tenancy import WritingQuerySet

SN_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"

FEW = 1000  # devices whose keys are read to search for what refers to them

# Devices that are here because they or a dock said so, without a code and without a person.
UNINVITED = Q(organization=None) | Q(claim="named", bound_with=None)


class DeviceQuerySet(ChangingQuerySet["Device"]):
    """Devices."""

    def unclaimed(self) -> Self:
        """Devices that belong to nobody."""
        return self.filter(organization=None)

    def uninvited(self) -> Self:
        """Devices that nobody added and no code bound."""
        return self.filter(UNINVITED, retired_at=None)

    def not_retired(self) -> Self:
        """Devices that are in use, as far as anybody said."""
        return self.filter(retired_at=None)

    def docks(self) -> Self:
        """Docks by their model key; of unknown model, what was bound or added and never was a dock's aircraft.

        A device known from telemetry alone is of unknown kind and no dock.
        """
        was_aircraft = Exists(Pairing.objects.filter(aircraft=OuterRef("pk")))
        return self.filter(Q(model_key__startswith="3-") | (Q(model_key="", bound_at__isnull=False) & ~Q(was_aircraft)))

    def aircraft(self) -> Self:
        """Aircraft by their model key; of unknown model, what belongs to a dock."""
        return self.filter(Q(model_key__startswith="0-") | Q(model_key="", gateway__isnull=False))

    def carried_by(self, dock: "Device") -> Self:
        """The aircraft that belong to this dock and to its owner, switched on or off."""
        return self.filter(gateway=dock, organization=dock.organization_id)

    def first_keys(self) -> list[int] | Self:
        """Their primary keys for `__in`, read now if they are few; else the rows themselves, as a subquery.

        With the keys in the statement, PostgreSQL finds the rows of other tables that refer to these by an index.
        """
        keys = list(self.order_by().values_list("pk", flat=True)[: FEW + 1])
        return keys if len(keys) <= FEW else self

    def lock_in_order(self) -> Self:
        """Lock these rows in the order of their SN, so that two transactions never wait for each other."""
        return self.select_for_update(no_key=True, of=("self",)).order_by("sn")


class Claim(models.TextChoices):
    """What makes an organization the owner of a device."""

    NONE = "", _("nobody owns it")
    CODE = "code", _("it brought a binding code itself")
    ENROLLED = "enrol", _("it brought a binding code through enrolment")
    PERSON = "person", _("a person added it")
    NAMED = "named", _("its owner's dock named it")


class Standing:
    """What a device is and whose, by four of its columns: for `Device`, and for plain rows that have these columns."""

    __slots__ = ()
    claim: str
    model_key: str
    organization_id: int | None
    gateway_id: int | None

    @property
    def is_bound(self) -> bool:
        return self.organization_id is not None

    @property
    def bound_itself(self) -> bool:
        """Whether it brought a binding code: then it is a gateway."""
        return self.claim in (Claim.CODE, Claim.ENROLLED)

    @property
    def is_aircraft(self) -> bool:
        """Whether its model says so, or, of unknown model, its place in a dock; never if it bound itself."""
        if self.bound_itself:
            return False
        if not self.model_key:
            return self.gateway_id is not None
        return model_keys.domain(self.model_key) == model_keys.AIRCRAFT

    @property
    def is_unproven(self) -> bool:
        """Whether its owner owns it only because a dock named it as its aircraft."""
        return self.claim == Claim.NAMED or (not self.claim and self.is_aircraft)

    @property
    def spoken_for(self) -> int | None:
        """The organization (primary key) that this device speaks for in its requests, which no aircraft ever sends.

        A device that is recorded as an aircraft and sends one is a gateway that another dock falsely named.
        """
        return None if self.is_unproven or self.is_aircraft else self.organization_id


class Device(Standing, ChangingModel):
    """A dock, an aircraft or a remote controller, known by its serial number."""

    Claim = Claim

    sn = models.CharField(
        _("serial number"),
        max_length=64,
        unique=True,
        validators=[RegexValidator(SN_PATTERN, _("1 to 64 letters, digits, hyphens or underscores, no leading sign."))],
    )
    model_key = models.CharField(
        _("model key"),
        max_length=32,
        blank=True,
        help_text=_("DJI's domain-type-sub_type, such as 3-2-0. Filled in by the device."),
    )
    organization = models.ForeignKey(
        Organization,
        models.PROTECT,
        null=True,
        blank=True,
        db_index=False,  # others begin with it
        related_name="devices",
        help_text=_("Empty: unclaimed."),
        verbose_name=_("organization"),
    )
    callsign = models.CharField(_("callsign"), max_length=128, blank=True)
    is_enabled = models.BooleanField(
        _("enabled"), default=True, help_text=_("A disabled device gets no DJI license and cannot be bound.")
    )
    claim = models.CharField(
        _("claim"),
        max_length=6,
        choices=Claim,
        blank=True,
        editable=False,
        help_text=_("What makes its organization the owner."),
    )
    gateway = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="carried",
        help_text=_("The dock that an aircraft belongs to, switched on or off; none for docks."),
        verbose_name=_("gateway"),
    )
    bound_at = models.DateTimeField(_("bound at"), null=True, blank=True, editable=False)
    bound_with = models.ForeignKey(
        BindingCode,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="devices",
        verbose_name=_("bound with"),
    )
    enrolled_at = models.DateTimeField(
        _("enrolled at"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("When something last came through enrolment for this serial number, which proves nothing."),
    )
    # no auto_now_add: rows are copied
    created = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    site = models.ForeignKey(
        Site,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="devices",
        verbose_name=_("site"),
        db_index=False,  # `device_site`: a device without a site costs no entry
    )
    labels = models.ManyToManyField(
        Label, through=DeviceLabel, blank=True, related_name="devices", verbose_name=_("labels")
    )
    retired_at = models.DateTimeField(
        _("retired"), null=True, blank=True, editable=False, help_text=_("It is not used any more. Its history stays.")
    )
    ignored_at = models.DateTimeField(
        _("ignored"), null=True, blank=True, editable=False, help_text=_("Nobody's, and meant to stay so.")
    )

    objects: ClassVar[DeviceQuerySet] = DeviceQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("callsign", "sn")
        indexes = [
            models.Index(fields=["organization", "callsign", "sn"], name="device_organization_list"),
            models.Index(fields=["organization", "updated", "id"], name="device_changes"),  # of a tenant, in order
            models.Index(fields=["id"], condition=UNINVITED, name="device_uninvited"),  # they are counted
            # the devices at a site
            models.Index(fields=["site"], condition=Q(site__isnull=False), name="device_site"),
            # the list of retired devices
            models.Index(fields=["retired_at"], condition=Q(retired_at__isnull=False), name="device_retired"),
        ]
        verbose_name = _("device")
        verbose_name_plural = _("devices")

    def __str__(self) -> str:
        return f"{self.callsign} ({self.sn})" if self.callsign not in ("", self.sn) else self.sn

    @property
    def model_name(self) -> str:
        """The product's name; of an unknown product, its raw key."""
        return model_keys.name(self.model_key) if self.model_key else gettext_noop("unknown model")

    @property
    def time_zone(self) -> str:
        """The time zone where it stands: that of its site, else of its organization, else UTC."""
        of_site = self.site.time_zone if self.site else ""
        return of_site or (self.organization.time_zone if self.organization else "") or "UTC"

    @property
    def site_name(self) -> str:
        """Empty at no site."""
        return self.site.name if self.site else ""

    @property
    def label_names(self) -> list[str]:
        """In alphabetical order."""
        return sorted(label.name for label in self.labels.all())

    def set_labels(self, names: Collection[str]) -> None:
        """Give it those labels of its organization that have these names, and no others; lock its row first."""
        labels = Label.objects.filter(organization=self.organization_id, name__in=names)
        keep = set(labels.values_list("pk", flat=True))
        DeviceLabel.objects.filter(device=self).exclude(label__in=keep).delete()
        DeviceLabel.objects.bulk_create([DeviceLabel(device=self, label_id=key) for key in keep], ignore_conflicts=True)
        self.__dict__.get("_prefetched_objects_cache", {}).pop("labels", None)

    def note_code(self, *, by_enrolment: bool, at: datetime) -> bool:
        """Note that this dock brought a code of its owner; returns whether that changed anything.

        With its own account it proves what it claimed through enrolment.
        """
        if by_enrolment and self.enrolled_at is None:
            self.enrolled_at = at
            return True
        if not by_enrolment and self.claim == self.Claim.ENROLLED:
            self.claim = self.Claim.CODE
            return True
        return False

    @property
    def speaks_for(self) -> Organization | None:
        """The organization of `spoken_for`."""
        return None if self.spoken_for is None else self.organization


class Pairing(models.Model):
    """That an aircraft belongs, or belonged, to a dock: from when to when, and by which witness.

    Several docks may know one aircraft; `Device.gateway` is the one it is shown in. The rules: `devices/pairing.py`.
    """

    class Witness(models.TextChoices):
        BIND = "bind", _("bind request of the dock")
        TOPOLOGY = "topology", _("topology of the dock")
        DOCK = "dock", _("properties of the dock")
        AIRCRAFT = "aircraft", _("properties of the aircraft")
        RELEASE = "release", _("release")
        RECORD = "record", _("earlier record")

    dock = models.ForeignKey(Device, models.CASCADE, related_name="aircraft_pairings")
    aircraft = models.ForeignKey(Device, models.CASCADE, related_name="dock_pairings")
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, help_text=_("Empty: it still belongs there."))
    witness = models.CharField(max_length=8, choices=Witness, help_text=_("Who said first that it belongs there."))
    ended_by = models.CharField(max_length=8, choices=Witness, blank=True)
    linked_since = models.DateTimeField(null=True, help_text=_("Empty: switched off, or linked through another dock."))
    is_heard = models.BooleanField(default=False, help_text=_("Whether the aircraft said so, too."))
    changed_at = models.DateTimeField(help_text=_("What was said before this moment is out of date."))
    remark = models.CharField(max_length=200, blank=True, help_text=_("Why it does not belong to the dock's owner."))

    objects: ClassVar[WritingQuerySet[Self]] = WritingQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-since", "-pk")
        constraints = [
            models.UniqueConstraint(
                fields=["dock", "aircraft"], condition=Q(until=None), name="one_open_pairing_per_dock_and_aircraft"
            ),
        ]
        indexes = [
            models.Index(fields=["until"], condition=Q(until__isnull=False), name="pairing_ended"),  # pruning
        ]

    def __str__(self) -> str:
        return gettext("{aircraft} in {dock}").format(aircraft=self.aircraft, dock=self.dock)

    @property
    def fits(self) -> bool:
        """Whether the owners allow that the aircraft is shown in this dock: no report moves what another one owns."""
        owner = self.aircraft.organization_id
        return owner is None or owner == self.dock.organization_id

    def why_not_adopted(self) -> str | None:
        """Why the aircraft does not join the dock's owner, "" if there is nothing to say; None: it may."""
        dock, aircraft = self.dock, self.aircraft
        if dock.organization_id == aircraft.organization_id:
            return ""
        if aircraft.organization_id is not None:
            return gettext_noop("belongs to another organization")
        if dock.organization is None or aircraft.gateway_id != dock.pk:
            return ""
        if not dock.organization.is_active:
            return gettext_noop("not adopted: the organization is not active")
        if not aircraft.is_enabled:
            return gettext_noop("not adopted: it is disabled")
        if self.witness == self.Witness.AIRCRAFT:
            return gettext_noop("not adopted: only the aircraft says that it belongs to this dock")
        is_known = model_keys.domain(aircraft.model_key) == model_keys.AIRCRAFT
        return None if is_known else gettext_noop("not adopted: its model is not known until it is switched on")
