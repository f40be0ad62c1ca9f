"""REST: devices, releasing them, and keeping their events."""

from typing import Any, ClassVar

import django_filters
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from cloudapi.rest.fields import BooleanField, IntegerField, StrictSerializer
from cloudapi.rest.filters import BooleanFilter, ChoiceFilter, SinceFilter
from cloudapi.rest.problems import Problem
from devices import binding
from devices.diagnosis import tracing
from devices.live import broadcast
from devices.models import Device, DeviceLabel
from devices.moving import transfer
from devices.presence import Presence, watch
from devices.serializers import DeviceSerializer
from organizations.api.filters import OrganizationIDFilter, TypedFilter
from organizations.api.tenant import PatchMixin, RetrieveMixin, TenantViewSet, actor
from organizations.models import Organization, Role
from organizations.serializers import TypedField

SN_IN_PATHS = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


class DeviceFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Which devices."""

    organization = OrganizationIDFilter()
    kind = ChoiceFilter(
        choices=[("dock", "docks"), ("aircraft", "aircraft")], method="of_kind", help_text="By its model."
    )
    presence = ChoiceFilter(choices=Presence.choices, method="with_presence")
    gateway = TypedFilter(method="carried_by", help_text="The aircraft of this dock.")
    model_key = django_filters.CharFilter(help_text="DJI's key of a model, as `3-2-0`.")
    is_enabled = BooleanFilter(help_text="Those that are disabled get no commands.")
    retired = BooleanFilter(method="as_retired", help_text="`true`: the retired ones. They are in no other list.")
    site = django_filters.CharFilter("site__name", help_text="The name of a site.")
    label = django_filters.CharFilter(method="with_label", help_text="The name of a label.")
    updated_since = SinceFilter("updated", help_text="Changes of the row, not of its presence.")

    class Meta:
        model = Device
        fields = ()

    def as_retired(self, rows: QuerySet[Device], _name: str, value: bool) -> QuerySet[Device]:
        """The retired ones; `false` is the default."""
        return rows.filter(retired_at__isnull=not value)

    def with_label(self, rows: QuerySet[Device], _name: str, value: str) -> QuerySet[Device]:
        """Those that have a label of this name."""
        return rows.filter(Exists(DeviceLabel.objects.filter(device=OuterRef("pk"), label__name=value)))

    def of_kind(self, rows: QuerySet[Device], _name: str, value: str) -> QuerySet[Device]:
        """Docks or aircraft."""
        return rows & Device.objects.docks() if value == "dock" else rows & Device.objects.aircraft()

    def carried_by(self, rows: QuerySet[Device], _name: str, value: str) -> QuerySet[Device]:
        """The aircraft of this dock that belong to its owner: as in the answer, another owner's are not named."""
        return rows.filter(gateway__sn=value, gateway__organization=F("organization"))

    def with_presence(self, rows: QuerySet[Device], _name: str, value: str) -> QuerySet[Device]:
        """By what is known of their connection now."""
        return rows.filter(watch().matching(value))


class TransferSerializer(StrictSerializer):
    """The body of a transfer."""

    organization = TypedField(help_text="The ID of the organization that gets it.")
    with_aircraft = BooleanField(default=True, help_text="The aircraft in this dock too.")
    keep_accounts = BooleanField(
        default=True,
        help_text="The dock keeps its own MQTT account. If not, it is cut off until a person types in a new one.",
    )


class TransferredSerializer(serializers.Serializer[Any]):
    """The answer to a transfer."""

    transferred = serializers.ListField(child=serializers.CharField(), help_text="Serial numbers.")


class ReleaseSerializer(StrictSerializer):
    """The body of a release."""

    with_aircraft = BooleanField(default=True, help_text="The aircraft in this dock too.")


class ReleasedSerializer(serializers.Serializer[Any]):
    """The answer to a release."""

    released = serializers.ListField(child=serializers.CharField(), help_text="Serial numbers.")


class TraceSerializer(StrictSerializer):
    """For how long every event of a device is kept."""

    minutes = IntegerField(min_value=0, max_value=tracing.LONGEST, help_text="From now on; 0 ends it.")


class TracedSerializer(serializers.Serializer[Any]):
    """When a trace ends."""

    until = serializers.DateTimeField(allow_null=True, help_text="Null: it has ended.")


class DeviceViewSet(RetrieveMixin, PatchMixin, ListModelMixin, TenantViewSet):
    """Docks, aircraft and remote controllers."""

    queryset = Device.objects.all()
    serializer_class = DeviceSerializer
    filterset_class = DeviceFilter
    search_fields = ("sn", "callsign")
    orderings = ("sn", "callsign", "created", "updated")
    lookup_field = "sn"
    lookup_value_regex = SN_IN_PATHS
    roles: ClassVar = {"partial_update": Role.OPERATOR, "keep_events": Role.OPERATOR, "release": Role.MANAGER}
    field_roles: ClassVar = {"is_enabled": Role.MANAGER}
    deferred: ClassVar = {"state__properties": "properties"}

    def get_serializer_context(self) -> dict[str, object]:
        return {**super().get_serializer_context(), "watch": watch()}

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """As usual; a list leaves out what is retired unless it is asked for."""
        rows = super().filter_queryset(queryset)
        is_whole = self.detail or self.request.query_params.get("retired") == "true"
        return rows if is_whole else rows.filter(retired_at=None)

    def get_object(self) -> Device:
        """As usual; the 404 names a device whose serial number differs only in the case of its letters."""
        try:
            device: Device = super().get_object()
        except Http404:
            device = self.find(Device.objects.all(), sn=self.kwargs["sn"])  # raises a 404 that names it
        return device

    def changed(self, row: Device) -> None:
        broadcast.tell_device([row])

    @extend_schema(request=ReleaseSerializer, responses=ReleasedSerializer)
    @action(detail=True, methods=["post"])
    @transaction.atomic
    def release(self, request: Request, sn: str) -> Response:
        """Take a device from its organization, so that another may bind it."""
        given = ReleaseSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        device = self.get_object()
        aircraft = Device.objects.carried_by(device) if given.validated_data["with_aircraft"] else ()
        released = binding.release([device, *aircraft], actor=actor(request))
        return Response({"released": [row.sn for row in released]})

    @extend_schema(request=TransferSerializer, responses=TransferredSerializer)
    @action(detail=True, methods=["post"])
    @transaction.atomic
    def transfer(self, request: Request, sn: str) -> Response:
        """Move a device to another organization, for platform staff; 409 if that has no room or is not active."""
        given = TransferSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wanted, device = given.validated_data, self.get_object()
        to = self.find(Organization.objects.all(), "organization", organization_id=wanted["organization"])
        rows = transfer.with_aircraft([device.pk]) if wanted["with_aircraft"] else [device]
        try:
            moved = transfer.move(rows, to, actor=actor(request), keep_accounts=wanted["keep_accounts"])
        except transfer.Refused as refused:
            raise Problem(409, "conflict", str(refused)) from None
        return Response({"transferred": [row.sn for row in moved]})

    @extend_schema(request=TraceSerializer, responses=TracedSerializer)
    # Under the name `trace` it would answer the HTTP method of that name.
    @action(detail=True, methods=["post"], url_path="trace")
    def keep_events(self, request: Request, sn: str) -> Response:
        """Keep every event of a device in its journal for a while; otherwise only the latest of each kind is kept."""
        given = TraceSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        until = tracing.trace(self.get_object(), minutes=given.validated_data["minutes"], actor=actor(request))
        return Response(TracedSerializer({"until": until}).data)
