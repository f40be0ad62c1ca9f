"""Organizations and binding codes as JSON."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from django.core.validators import RegexValidator
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy
from rest_framework import serializers

from cloudapi.rest.fields import CharField, IntegerField, StrictSerializer
from cloudapi.rest.including import Include, IncludingSerializer
from organizations.fleet import Counted
from organizations.models import BindingCode, Organization
from organizations.typed import typed

OWN_CODE: Final = RegexValidator(
    r"^[ ._-]*([A-Za-z0-9][ ._-]*){8,}$",
    gettext_lazy("8 or more of A to Z and 0 to 9; spaces, dots and hyphens between them do not count."),
)
MOST_USES: Final = 2**31 - 1
USES_HELP: Final = "How many docks may bind with it; each takes its aircraft along. Absent or null: no limit."


class TypedField(CharField):
    """Text that a person typed, in its plain form; see `organizations/typed.py`."""

    def to_internal_value(self, data: object) -> str:
        return typed(super().to_internal_value(data))


class OrganizationCountsSerializer(serializers.Serializer[Any]):
    """How many devices an organization has; needs `fleet.with_counts`."""

    docks = serializers.IntegerField()
    docks_online = serializers.SerializerMethodField(
        help_text="Null while the bridge is silent, and so the number unknown."
    )
    aircraft = serializers.IntegerField()

    def get_docks_online(self, organization: Counted) -> int | None:
        return organization.docks_online if organization.is_bridge_alive else None


LICENSE = ("app_id", "app_key", "app_license")


class OrganizationSerializer(IncludingSerializer):
    """A customer; its own DJI license is written and never read."""

    includes: ClassVar = {"counts": Include()}

    has_own_license = serializers.SerializerMethodField(
        help_text="Whether its docks get its own DJI license, not the server's."
    )
    counts = OrganizationCountsSerializer(source="*", read_only=True)

    class Meta:
        model = Organization
        fields = ("organization_id", "name", "is_active", "device_limit", "license_sync_hours", "has_own_license",
                  "created", "updated", "counts", *LICENSE)  # fmt: skip
        read_only_fields = ("created", "updated")
        extra_kwargs = {
            "organization_id": {"help_text": "What DJI Pilot 2 asks for beside the dock. Chosen once, else made."},
            **{
                name: {"write_only": True, "help_text": "Of its own app at DJI: all three together, or three times ''."}
                for name in LICENSE
            },
        }

    def to_internal_value(self, data: object) -> dict[str, object]:
        """The ID in its plain form, before it is checked."""
        if isinstance(data, Mapping) and isinstance(given := data.get("organization_id"), str):
            data = {**data, "organization_id": typed(given)}
        return super().to_internal_value(data)

    def get_has_own_license(self, organization: Organization) -> bool:
        return bool(organization.app_license)

    def validate_organization_id(self, value: str) -> str:
        """The present ID, for docks were bound with it."""
        if self.instance is not None and value != self.instance.organization_id:
            raise serializers.ValidationError(gettext("It cannot be changed."))
        return value

    def validate_is_active(self, value: bool) -> bool:
        """Not of a closed one: platform staff open it again in the admin."""
        if value and self.instance is not None and self.instance.closed_at is not None:
            raise serializers.ValidationError(gettext("This organization is closed: open it again first."))
        return value

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        """Check what would be stored by `Organization.clean`."""
        stored = {name: getattr(self.instance, name, "") for name in LICENSE}
        Organization(**{name: attrs.get(name, stored[name]) for name in LICENSE}).clean()
        return attrs


class BindingCodeSerializer(IncludingSerializer):
    """A binding code without the code itself, which is stored nowhere."""

    related: ClassVar = ("organization", "created_by")

    organization = serializers.CharField(source="organization.organization_id", read_only=True)
    hint = serializers.CharField(read_only=True, help_text="How the code ends.")
    state = serializers.SerializerMethodField(help_text="`expiring` is usable too, for three days at most.")
    usable = serializers.SerializerMethodField(help_text="Whether it would bind a new dock now.")
    why_unusable = serializers.SerializerMethodField(help_text="In words; empty if it is usable.")
    max_uses = IntegerField(min_value=1, max_value=MOST_USES, allow_null=True, required=False, help_text=USES_HELP)
    created_by = serializers.CharField(
        source="created_by.username",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="Null if an API key made it.",
    )

    class Meta:
        model = BindingCode
        fields = (
            "id", "organization", "label", "hint", "state", "usable", "why_unusable", "expires_at", "max_uses", "uses",
            "revoked_at", "created_by", "created", "updated",
        )  # fmt: skip
        read_only_fields = ("uses", "revoked_at", "created", "updated")

    def get_state(self, code: BindingCode) -> BindingCode.State:
        return code.state_at(timezone.now())

    def get_usable(self, code: BindingCode) -> bool:
        return not code.why_unusable(timezone.now())

    def get_why_unusable(self, code: BindingCode) -> str:
        return code.why_unusable(timezone.now())


class IssuedBindingCodeSerializer(BindingCodeSerializer):
    """A binding code that was just made."""

    code = serializers.CharField(read_only=True, help_text="Shown in this one answer and never again.")

    class Meta(BindingCodeSerializer.Meta):
        fields = (*BindingCodeSerializer.Meta.fields, "code")  # type: ignore[assignment]


class NewBindingCodeSerializer(StrictSerializer):
    """What a new binding code is to be."""

    organization = TypedField(
        required=False, help_text="Its `organization_id`; not needed by an API key or by a user who manages just one."
    )
    label = CharField(  # type: ignore[assignment]  # the stubs' Field has a label, too
        required=False, allow_blank=True, max_length=100
    )
    code = TypedField(
        required=False,
        max_length=64,
        validators=[OWN_CODE],
        help_text="An own one of 8 or more letters and digits; absent: one is made.",
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True, help_text="Absent: in 7 days. Null: never.")
    max_uses = IntegerField(required=False, allow_null=True, min_value=1, max_value=MOST_USES, help_text=USES_HELP)

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        if value is not None and value <= timezone.now():
            raise serializers.ValidationError(gettext("This time is over already."))
        return value
