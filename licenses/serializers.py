"""Unlock licenses, the lists they were read from, and license files as JSON."""

from datetime import datetime
from typing import Any, ClassVar

from django.utils import translation
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cloudapi.rest.fields import StrictSerializer
from cloudapi.rest.including import Include, IncludingSerializer
from licenses import geography, validity, wording
from licenses.models import Inventory, LicenseEvent, LicenseFile, UnlockLicense
from organizations.serializers import TypedField
from organizations.tenancy import restrict

INVENTORIES = {Inventory.AIRCRAFT.value: "aircraft", Inventory.DOCK.value: "dock"}
LANGUAGE = "en"  # as all other words of the REST API
HISTORY = 100  # events with a license


class InventoryField(serializers.ChoiceField):
    """The word for a `device_model_domain`."""

    def __init__(self, source: str | None = None, help_text: str | None = None) -> None:
        super().__init__(choices=list(INVENTORIES.values()), read_only=True, source=source, help_text=help_text)

    def to_representation(self, value: Any) -> str:
        return INVENTORIES.get(value, str(value))


class LicenseEventSerializer(serializers.ModelSerializer[LicenseEvent]):
    """What became of a license."""

    inventory = InventoryField(source="device_model_domain")
    call = serializers.UUIDField(
        source="call_id", read_only=True, allow_null=True, help_text="The service call whose answer reported it."
    )

    class Meta:
        model = LicenseEvent
        fields = ("at", "kind", "inventory", "before", "after", "call")


class UnlockLicenseSerializer(IncludingSerializer):
    """An unlock license of a dock, under DJI's names; null is what the dock did not report."""

    # Its rows need `with_reading()`, its context `now` and the request.
    related: ClassVar = ("device__organization",)
    includes: ClassVar = {
        "raw": Include(is_heavy=True),
        "history": Include(is_heavy=True),
        "map": Include(is_heavy=True),
    }

    device = serializers.CharField(source="device.sn", read_only=True, help_text="The dock that reported it.")
    organization = serializers.CharField(
        source="device.organization.organization_id", read_only=True, allow_null=True, default=None
    )
    inventory = InventoryField(source="device_model_domain", help_text="`device_model_domain` in a word.")
    in_other_inventory = serializers.BooleanField(
        read_only=True, help_text="Whether the dock's other inventory has this license too, in whatever form."
    )
    type_name = serializers.SerializerMethodField(help_text="`type` for people.")
    validity = serializers.SerializerMethodField(
        help_text='Whether it counts now, for people: "in force", "not imported", and "was in force" by an old list.'
    )
    as_of = serializers.SerializerMethodField(help_text="When a list last held it in this form.")
    is_stale = serializers.SerializerMethodField(help_text="Whether that is too long ago to be called current.")
    details = serializers.JSONField(read_only=True, help_text="The sub-struct of its type, as the dock sent it.")
    raw = serializers.JSONField(read_only=True, help_text="All of it as the dock sent it.")
    history = serializers.SerializerMethodField(
        help_text=f"The newest {HISTORY} events of this license at this dock, in both inventories."
    )
    map = serializers.SerializerMethodField(
        help_text="A GeoJSON feature; its geometry is null if it has no place. The longitudes of a polygon across the "
        "antimeridian go on beyond 180."
    )

    class Meta:
        model = UnlockLicense
        fields = (
            "id", "device", "organization", "device_model_domain", "inventory", "in_other_inventory", "license_id",
            "name", "type", "type_name", "group_id", "user_id", "device_sn", "begin_time", "end_time", "user_only",
            "enabled", "details", "validity", "as_of", "is_stale", "seen_at", "updated", "note", "raw",
            "history", "map",
        )  # fmt: skip
        read_only_fields = (
            "device_model_domain", "license_id", "name", "type", "group_id", "user_id", "device_sn", "begin_time",
            "end_time", "user_only", "enabled", "seen_at", "updated",
        )  # fmt: skip
        extra_kwargs: ClassVar = {
            "seen_at": {"help_text": "When a list first held it in this form."},
            "license_id": {"help_text": "DJI's, of up to 64 bits: JavaScript's numbers round what is above 2^53."},
        }

    def to_representation(self, row: UnlockLicense) -> dict[str, object]:
        with translation.override(LANGUAGE):
            shown: dict[str, object] = super().to_representation(row)
        return shown

    def get_type_name(self, row: UnlockLicense) -> str:
        return wording.type_name(row.type)

    def get_validity(self, row: UnlockLicense) -> str:
        """Without what is left of the window: that would change the row's ETag every minute."""
        standing = validity.standing(row, self.context["now"], in_both=row.in_other_inventory)
        return str(standing.past if self.get_is_stale(row) else standing.words)

    def get_as_of(self, row: UnlockLicense) -> datetime:
        return validity.as_of(row, row.complete_at)

    def get_is_stale(self, row: UnlockLicense) -> bool:
        return validity.is_stale(self.get_as_of(row), self.context["now"])

    @extend_schema_field(LicenseEventSerializer(many=True))
    def get_history(self, row: UnlockLicense) -> object:
        """What happened under an earlier owner, only that owner sees."""
        events = restrict(LicenseEvent.objects.all(), self.context["request"].user)
        newest = events.filter(device=row.device_id, license_id=row.license_id)[:HISTORY]
        return LicenseEventSerializer(newest, many=True).data

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_map(self, row: UnlockLicense) -> geography.Feature:
        return geography.feature(row, now=self.context["now"], in_both=row.in_other_inventory)


class DockLicenseSerializer(UnlockLicenseSerializer):
    """An unlock license of this dock, under DJI's names; null is what the dock did not report."""


class InventorySerializer(serializers.Serializer[Any]):
    """One inventory of a dock (a `comparison.Side`) by the list that counts: null if no list was ever read."""

    device_model_domain = serializers.IntegerField(source="inventory")
    inventory = InventoryField()
    fetched_at = serializers.DateTimeField(source="applied.fetched_at", default=None)
    complete = serializers.BooleanField(source="applied.complete", default=None)
    consistence = serializers.BooleanField(source="applied.consistence", default=None)
    count = serializers.IntegerField(source="applied.count", default=None)
    is_stale = serializers.BooleanField()


class LicenseFileSerializer(IncludingSerializer):
    """A license file; its content is at `download/`."""

    # Its rows need `with_downloads()`.
    related: ClassVar = ("organization", "uploaded_by", "uploaded_with")

    organization = serializers.CharField(source="organization.organization_id", read_only=True)
    uploaded_by = serializers.CharField(source="uploaded_by.username", read_only=True, allow_null=True, default=None)
    uploaded_with = serializers.CharField(
        source="uploaded_with.name", read_only=True, allow_null=True, default=None, help_text="The name of an API key."
    )
    downloads = serializers.IntegerField(
        source="finished", read_only=True, help_text="How often it was fetched from its first byte to its last."
    )

    class Meta:
        model = LicenseFile
        fields = ("id", "organization", "name", "md5", "size", "created", "uploaded_by", "uploaded_with", "downloads")
        read_only_fields = fields


class UploadSerializer(StrictSerializer):
    """A license file and whose docks it is for."""

    organization = TypedField(
        max_length=64,
        required=False,
        allow_blank=True,  # else an empty one in a form would be none
        help_text="May be left out by who may upload for one organization only.",
    )
    file = extend_schema_field(
        {"type": "string", "format": "binary", "minLength": 1, "description": "Docks get it byte for byte."}
    )(serializers.FileField)()
