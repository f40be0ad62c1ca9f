"""REST: the journal of a gateway, to find out why a dock does what it does."""

from functools import cached_property
from typing import Any, ClassVar

import django_filters
from django.db.models import Model, QuerySet
from django.shortcuts import get_object_or_404
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.mixins import ListModelMixin

from cloudapi.rest.filters import BeforeFilter, BooleanFilter, ChoiceFilter, SinceFilter
from cloudapi.rest.including import Include, IncludingSerializer
from devices.diagnosis import exchanges
from devices.models import Device
from mqtt_bridge.models import Exchange, PassingEvent
from organizations.api.tenant import TenantViewSet
from organizations.tenancy import restrict

OUTCOMES = exchanges.outcomes()


class OfDeviceMixin(TenantViewSet):
    """Routes below `devices/{sn}/`."""

    @cached_property
    def device(self) -> Device:
        """The device of the path; Http404 unless the user may see it."""
        found: Device = get_object_or_404(restrict(Device.objects.all(), self.request.user), sn=self.kwargs["sn"])
        return found


class ExchangeFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Which messages; a value is matched in full."""

    method = django_filters.CharFilter(help_text="DJI's name of the message.")
    channel = ChoiceFilter(choices=Exchange._meta.get_field("channel").flatchoices)
    outcome = ChoiceFilter(choices=Exchange.Outcome.choices)
    became = ChoiceFilter(choices=[(word, word) for word in OUTCOMES], method="with_outcome")
    since = SinceFilter("received_at")
    until = BeforeFilter("received_at", help_text="Before this moment.")
    tid = django_filters.CharFilter(help_text="Transaction id of the message.")
    bid = django_filters.CharFilter(help_text="Business id of the message.")
    by_enrolment = BooleanFilter(help_text="Whether it came through an enrolment account.")

    class Meta:
        model = Exchange
        fields = ()

    def with_outcome(self, rows: QuerySet[Exchange], _name: str, value: str) -> QuerySet[Exchange]:
        """By the outcome in one word."""
        return rows.filter(OUTCOMES[value])


class CodeSerializer(serializers.Serializer[Any]):
    """A result code in a message."""

    side = serializers.ChoiceField(choices=["payload", "reply"], help_text="Where it was found.")
    sn = serializers.CharField(help_text="The device it is about, if the message names one.")
    code = serializers.IntegerField(help_text="DJI's.")
    words = serializers.CharField(help_text="What it means.")


class ExchangeSerializer(IncludingSerializer):
    """One message of a gateway and our answer; secrets are masked before they are stored."""

    related: ClassVar = ("organization",)
    includes: ClassVar = {"payload": Include(), "reply": Include(), "codes": Include()}

    organization = serializers.CharField(
        source="organization.organization_id",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="The organization it concerned then.",
    )
    became = serializers.ChoiceField(
        choices=list(OUTCOMES), read_only=True, help_text="The outcome, and whether the answer was a refusal."
    )
    payload = serializers.SerializerMethodField(
        help_text="The data of the message; text if it was too long to be kept whole, or could not be read."
    )
    reply = serializers.SerializerMethodField(help_text="The data of our answer; empty text if there was none.")
    codes = serializers.SerializerMethodField(help_text="Every result code in both, in words.")

    class Meta:
        model = Exchange
        fields = (
            "id", "organization", "channel", "method", "tid", "bid", "received_at", "device_time", "outcome",
            "became", "reason", "by_enrolment", "payload", "reply", "codes",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(serializers.JSONField())
    def get_payload(self, row: Exchange) -> object:
        return exchanges.shown(row.payload)

    @extend_schema_field(serializers.JSONField())
    def get_reply(self, row: Exchange) -> object:
        return exchanges.shown(row.reply)

    @extend_schema_field(CodeSerializer(many=True))
    def get_codes(self, row: Exchange) -> list[dict[str, object]]:
        sides = {"payload": row.payload, "reply": row.reply}
        return [{"side": side, **code._asdict()} for side, text in sides.items() for code in exchanges.codes(text)]


class ExchangeViewSet(ListModelMixin, OfDeviceMixin):
    """Messages of a gateway and our answers, as far as they concerned the user's organizations."""

    queryset = Exchange.objects.all()
    serializer_class = ExchangeSerializer
    filterset_class = ExchangeFilter
    filter_backends = (DjangoFilterBackend,)
    orderings = ("-received_at",)

    def get_queryset(self) -> QuerySet[Model]:
        rows = super().get_queryset().filter(gateway_sn=self.device.sn)
        included = self.included()
        return rows if "codes" in included else rows.defer(*{"payload", "reply"}.difference(included))


class PassingEventFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Which kinds."""

    method = django_filters.CharFilter(help_text="DJI's name of the event.")

    class Meta:
        model = PassingEvent
        fields = ()


class PassingEventSerializer(IncludingSerializer):
    """The latest event of one kind that this server does not act on, and how many there were."""

    related: ClassVar = ("organization",)
    includes: ClassVar = {"payload": Include()}

    organization = serializers.CharField(
        source="organization.organization_id",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="The owner of the device at the latest event.",
    )
    payload = serializers.SerializerMethodField(
        help_text="The data of the latest; text if it was too long to be kept whole."
    )

    class Meta:
        model = PassingEvent
        fields = ("id", "organization", "method", "count", "first_at", "last_at", "payload")
        read_only_fields = fields

    @extend_schema_field(serializers.JSONField())
    def get_payload(self, row: PassingEvent) -> object:
        return exchanges.shown(row.payload)


class PassingEventViewSet(ListModelMixin, OfDeviceMixin):
    """What a device reports again and again, as `hms`: the latest of each kind, with a count."""

    queryset = PassingEvent.objects.all()
    serializer_class = PassingEventSerializer
    filterset_class = PassingEventFilter
    filter_backends = (DjangoFilterBackend,)
    orderings = ("method", "last_at")

    def get_queryset(self) -> QuerySet[Model]:
        rows = super().get_queryset().filter(gateway_sn=self.device.sn)
        return rows if "payload" in self.included() else rows.defer("payload")
