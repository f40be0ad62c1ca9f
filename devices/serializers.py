"""Devices, accounts and service calls as JSON: the same for REST and for browsers that follow live."""

from collections.abc import Mapping
from typing import Any, ClassVar, cast
from uuid import UUID

from django.db.models import Prefetch
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from cloudapi.rest.fields import CharField
from cloudapi.rest.including import Include, IncludingSerializer
from devices.calls import methods, wording
from devices.models import (
    OPEN_STATUSES,
    Device,
    DeviceAccount,
    DeviceState,
    Label,
    ServiceCall,
    ServiceCallBatch,
    ServiceCallEvent,
    Site,
)
from devices.presence import Presence, Watch
from mqtt_bridge.protocol import model_keys

NO_SITE = _("The device's organization has no site of this name.")
NO_LABEL = _("The device's organization has no label “{name}”.")


class DeviceAccountSerializer(serializers.ModelSerializer[DeviceAccount]):
    """A dock's DJI account; needs nothing but its row."""

    verification_code_url = serializers.SerializerMethodField(help_text="Where a person gets the code; https only.")
    verification_code_url_trusted = serializers.SerializerMethodField(
        help_text="Whether that is a host of DJI's. If not, do not make it a link: it may be a trap for passwords."
    )

    class Meta:
        model = DeviceAccount
        fields = ("username", "status", "verification_code_url", "verification_code_url_trusted")

    def get_verification_code_url(self, account: DeviceAccount) -> str:
        """As the dock sent it, for people to click: only https leaves the server."""
        url = account.verification_code_url
        return url if methods.is_safe_link(url) else ""

    def get_verification_code_url_trusted(self, account: DeviceAccount) -> bool:
        """False without an address."""
        return methods.is_djis_link(account.verification_code_url)


class DeviceStateSerializer(serializers.ModelSerializer[DeviceState]):
    """The last reported state of a device; needs its device."""

    mode = serializers.SerializerMethodField(help_text="`mode_code` for people.")

    class Meta:
        model = DeviceState
        fields = (
            "connected_since", "latitude", "longitude", "mode_code", "mode", "clock_skew_ms",
            "refused", "refused_at", "refused_why",
        )  # fmt: skip

    def get_mode(self, state: DeviceState) -> str:
        """Empty if it was never reported."""
        return "" if state.mode_code is None else model_keys.describe_mode(state.mode_code, state.device.model_key)


class DeviceSerializer(IncludingSerializer):
    """A device and its presence; its context holds `watch`, a `presence.Watch`."""

    related: ClassVar = ("organization", "state", "gateway", "site")
    includes: ClassVar = {
        "state": Include(),
        "account": Include(select=("account",)),
        "carried": Include(prefetch=(Prefetch("carried", Device.objects.order_by("sn")),)),
        "labels": Include(prefetch=("labels",)),
        "properties": Include(is_heavy=True),
    }

    model_name = serializers.CharField(read_only=True)
    organization = serializers.CharField(
        source="organization.organization_id", read_only=True, allow_null=True, default=None
    )
    presence = serializers.SerializerMethodField()
    last_seen = serializers.DateTimeField(source="state.seen", read_only=True, allow_null=True, default=None)
    firmware_version = serializers.SerializerMethodField()
    gateway = serializers.SerializerMethodField(
        help_text="Serial number of the dock that an aircraft belongs to, switched on or off."
    )
    state = DeviceStateSerializer(read_only=True, allow_null=True, default=None)
    account = DeviceAccountSerializer(read_only=True, allow_null=True, default=None)
    carried = serializers.SerializerMethodField(
        help_text="Serial numbers of the aircraft that belong to this dock, switched on or off."
    )
    site = CharField(
        source="site_name", required=False, allow_blank=True, help_text="The name of a site of its organization."
    )
    time_zone = serializers.CharField(read_only=True, help_text="Of its site, else of its organization, else UTC.")
    labels = serializers.ListField(
        child=CharField(),
        source="label_names",
        required=False,
        max_length=100,
        help_text="Names of labels of its organization. PATCH takes all that it is to have.",
    )
    properties = serializers.JSONField(source="state.properties", default=dict, read_only=True)

    class Meta:
        model = Device
        fields = (
            "sn", "callsign", "model_key", "model_name", "organization", "is_enabled", "presence", "last_seen",
            "firmware_version", "gateway", "site", "time_zone", "bound_at", "retired_at", "created", "updated",
            "state", "account", "carried", "labels", "properties",
        )  # fmt: skip
        read_only_fields = ("sn", "model_key", "bound_at", "retired_at", "created", "updated")

    def get_fields(self) -> dict[str, serializers.Field[object, object, object, object]]:
        """As usual; labels may be written whether or not the answer shows them."""
        given = getattr(self, "initial_data", None)
        if isinstance(given, Mapping) and "labels" in given:
            self._context = {**self.context, "include": [*self.context.get("include", ()), "labels"]}
        return super().get_fields()

    def validate_site(self, name: str) -> str:
        """One of the device's own organization."""
        owner = cast("Device", self.instance).organization_id
        if name and not Site.objects.filter(organization=owner, name=name).exists():
            raise serializers.ValidationError(NO_SITE)
        return name

    def validate_labels(self, names: list[str]) -> list[str]:
        """Those of the device's own organization."""
        owner = cast("Device", self.instance).organization_id
        labels = Label.objects.filter(organization=owner, name__in=names)
        known = set(labels.values_list("name", flat=True))
        if unknown := [name for name in names if name not in known]:
            raise serializers.ValidationError(NO_LABEL.format(name=unknown[0][:40]))
        return sorted(known)

    def update(self, instance: Device, validated_data: dict[str, Any]) -> Device:
        """Save what is in the row, and what only refers to it; the row is locked."""
        if (name := validated_data.pop("site_name", None)) is not None:
            instance.site = Site.objects.filter(organization=instance.organization_id, name=name).first()
        if (names := validated_data.pop("label_names", None)) is not None:
            instance.set_labels(names)
        return super().update(instance, validated_data)  # type: ignore[no-any-return]

    def get_presence(self, device: Device) -> Presence:
        """One of `presence.Presence`."""
        now_watched: Watch = self.context["watch"]
        return now_watched.presence(getattr(device, "state", None))

    def get_firmware_version(self, device: Device) -> str:
        """Empty if it was never reported."""
        return device.state.firmware_version if hasattr(device, "state") else ""

    def get_gateway(self, device: Device) -> str | None:
        """Empty if the dock belongs to another owner."""
        gateway = device.gateway
        return gateway.sn if gateway is not None and gateway.organization_id == device.organization_id else None

    def get_carried(self, device: Device) -> list[str]:
        """Without aircraft of another owner."""
        carried = device.carried.all()
        return [aircraft.sn for aircraft in carried if aircraft.organization_id == device.organization_id]


class ServiceCallEventSerializer(serializers.ModelSerializer[ServiceCallEvent]):
    """One step in the life of a call."""

    class Meta:
        model = ServiceCallEvent
        fields = ("version", "at", "source", "status", "percent", "result_code", "text")


class ServiceCallSerializer(IncludingSerializer):
    """The present state of a service call, with one sentence about it; the secrets in its `data` are masked."""

    related: ClassVar = ("device", "organization", "requested_by", "requested_with")  # for select_related
    includes: ClassVar = {
        "events": Include(
            prefetch=(Prefetch("events", ServiceCallEvent.objects.order_by("version")),),
            is_heavy=True,
        ),
    }

    device = serializers.CharField(source="device.sn", read_only=True)
    organization = serializers.CharField(source="organization.organization_id", read_only=True)
    batch = serializers.UUIDField(source="batch_id", read_only=True, allow_null=True)
    retry_of = serializers.UUIDField(source="retry_of_id", read_only=True, allow_null=True)
    label = serializers.SerializerMethodField(help_text="The method for people.")  # type: ignore[assignment]
    text = serializers.SerializerMethodField(help_text="What is the matter with it now, for people.")
    problem = serializers.SerializerMethodField(help_text="Why it did not do what it was for.")
    is_open = serializers.BooleanField(read_only=True)
    requested_by = serializers.CharField(source="requested_by.username", read_only=True, allow_null=True, default=None)
    requested_with = serializers.CharField(
        source="requested_with.name", read_only=True, allow_null=True, default=None, help_text="The name of an API key."
    )
    events = ServiceCallEventSerializer(many=True, read_only=True, help_text="Its history, oldest first.")

    class Meta:
        model = ServiceCall
        fields = (
            "id", "version", "device", "organization", "batch", "retry_of", "method", "label", "data", "status",
            "percent", "late", "is_open", "text", "problem", "result_code", "result_text", "output", "requested_by",
            "requested_with", "note", "queue", "created", "updated", "sent", "replied", "closed", "expires",
            "deadline", "events",
        )  # fmt: skip

    def get_label(self, call: ServiceCall) -> str:
        """The name itself, of a method that is no longer known."""
        return methods.label(call.method)

    def get_text(self, call: ServiceCall) -> str:
        return wording.describe(call)

    def get_problem(self, call: ServiceCall) -> wording.Problem | None:
        return wording.problem(call)


class SkippedSerializer(serializers.Serializer[Any]):
    """A device of a batch that got no call."""

    sn = serializers.CharField()
    callsign = serializers.CharField()
    reason = serializers.CharField(help_text="A sentence for people.")
    about = serializers.CharField(required=False, help_text="What was asked of it, if that differs in the batch.")


class ServiceCallBatchSerializer(IncludingSerializer):
    """One service asked of many docks; its context holds `counts`, by `batches.counts`."""

    related: ClassVar = ("organization", "requested_by", "requested_with")  # for select_related

    organization = serializers.CharField(
        source="organization.organization_id",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="Null if the docks are of several.",
    )
    label = serializers.SerializerMethodField(help_text="The method for people.")  # type: ignore[assignment]
    requested_by = serializers.CharField(source="requested_by.username", read_only=True, allow_null=True, default=None)
    requested_with = serializers.CharField(
        source="requested_with.name", read_only=True, allow_null=True, default=None, help_text="The name of an API key."
    )
    total = serializers.SerializerMethodField(help_text="How many calls it has.")
    done = serializers.SerializerMethodField(help_text="How many of them have ended, well or not.")
    counts = serializers.SerializerMethodField(help_text="How many of them are in which status.")
    skipped = SkippedSerializer(many=True, read_only=True, help_text="Devices that got no call.")
    planned = serializers.SerializerMethodField(
        help_text="How many docks it asks when it starts at `due_at`; null if it started when it was asked for."
    )

    class Meta:
        model = ServiceCallBatch
        fields = (
            "id", "organization", "method", "label", "data", "note", "requested_by", "requested_with", "created",
            "updated", "due_at", "planned", "queue_seconds", "started_at", "stopped", "total", "done", "counts",
            "skipped",
        )  # fmt: skip

    def get_label(self, batch: ServiceCallBatch) -> str:
        """The name itself, of a method that is no longer known."""
        return methods.label(batch.method)

    def get_planned(self, batch: ServiceCallBatch) -> int | None:
        return None if batch.planned is None else len(batch.planned)

    def get_total(self, batch: ServiceCallBatch) -> int:
        return sum(self._counted(batch).values())

    def get_done(self, batch: ServiceCallBatch) -> int:
        return sum(count for status, count in self._counted(batch).items() if status not in OPEN_STATUSES)

    def get_counts(self, batch: ServiceCallBatch) -> dict[str, int]:
        """Of every status, 0 included."""
        counted = self._counted(batch)
        return {status: counted.get(status, 0) for status in ServiceCall.Status.values}

    def _counted(self, batch: ServiceCallBatch) -> Mapping[str, int]:
        counts: Mapping[UUID, Mapping[str, int]] = self.context["counts"]
        return counts.get(batch.pk, {})
