"""REST: service calls to one dock, and batches of them to many."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Final

import django_filters
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db.models import Max, Model, Q, QuerySet
from django.utils.text import format_lazy
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.debug import sensitive_variables
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from cloudapi.rest.fields import BooleanField, CharField, IntegerField, MomentField, StrictSerializer
from cloudapi.rest.filters import BeforeFilter, BooleanFilter, SinceFilter
from devices.api import service_data as service_data  # the OpenAPI document finds it once it is imported
from devices.calls import asking, batches, ending, scheduling
from devices.calls.long_poll import LONGEST, Wait, wait_of
from devices.calls.method import Method
from devices.calls.methods import METHODS
from devices.models import OPEN_STATUSES, SN_PATTERN, Device, ServiceCall, ServiceCallBatch
from devices.serializers import ServiceCallBatchSerializer, ServiceCallSerializer
from organizations import rights, time_zones
from organizations.api.filters import OrganizationIDFilter, TypedFilter
from organizations.api.idempotency import key_of, once
from organizations.api.tenant import NONE_LIKE_THIS, RetrieveMixin, TenantViewSet, actor
from organizations.language.stored import english
from organizations.models import Role
from organizations.serializers import TypedField
from organizations.tenancy import restrict

MOST_DEVICES: Final = 1000  # of one batch
LONGEST_EXPIRY: Final = timedelta(days=7)
SERIAL_NUMBER: Final = RegexValidator(SN_PATTERN, gettext_lazy("Not a serial number."))
LOCAL: Final = gettext_lazy("A day and a time without an offset, as 2026-12-01T02:00.")
WAITING: Final = {"type": "string", "pattern": r"^([012]?[0-9](\.[0-9]{1,6})?|30(\.0{1,6})?)$"}
WAIT: Final = f"How many seconds to wait at most for an open call to end, 0 to {LONGEST:g}."
# DJI's samples as requests to us.
ONE: Final = [
    OpenApiExample(
        english(one.label), {"device": "dock-sn", "method": name, "data": dict(one.example)}, request_only=True
    )
    for name, one in METHODS.items()
]
MANY: Final = [
    OpenApiExample(
        english(one.label), {"devices": ["dock-sn"], "method": name, "data": dict(one.example)}, request_only=True
    )
    for name, one in METHODS.items()
    if not one.secrets
]


class AskingFilter(django_filters.FilterSet):  # type: ignore[misc]
    """What calls and batches have in common."""

    organization = OrganizationIDFilter()
    method = django_filters.CharFilter(help_text="The service.")
    requested_by = django_filters.CharFilter("requested_by__username", help_text="The name of a user.")
    created_since = SinceFilter("created")
    created_before = BeforeFilter("created")


class ServiceCallFilter(AskingFilter):
    """Which calls."""

    updated_since = SinceFilter("updated")
    device = TypedFilter("device__sn", help_text="Serial number of the dock.")
    status = django_filters.MultipleChoiceFilter(
        choices=ServiceCall.Status.choices, distinct=False, help_text="One or several."
    )
    open = BooleanFilter(method="is_open", help_text="Whether they have not ended yet.")
    batch = django_filters.UUIDFilter(help_text="The `id` of a batch.")
    retry_of = django_filters.UUIDFilter(help_text="The `id` of the call that they retry.")
    idempotency_key = django_filters.CharFilter(help_text="The `Idempotency-Key` of their request.")

    def is_open(self, rows: QuerySet[ServiceCall], _name: str, value: bool) -> QuerySet[ServiceCall]:
        """Open calls, or those that have ended."""
        return rows.filter(status__in=OPEN_STATUSES) if value else rows.exclude(status__in=OPEN_STATUSES)


class BatchFilter(AskingFilter):
    """Which batches."""

    updated_since = SinceFilter("updated", help_text="Changes of the batch, not of its calls.")
    planned = BooleanFilter(method="is_planned", help_text="Whether they are to start later.")

    def is_planned(self, rows: QuerySet[ServiceCallBatch], _name: str, value: bool) -> QuerySet[ServiceCallBatch]:
        """Batches that wait for their moment, or all others."""
        planned = Q(due_at__isnull=False, started_at=None, stopped=None)
        return rows.filter(planned if value else ~planned)


def services(specs: Iterable[Method]) -> serializers.ChoiceField:
    """A field for the name of one of these services."""
    choices = [(service.name, english(service.label)) for service in specs]
    names = ", ".join(name for name, _ in choices)
    # REST framework's own message repeats the value, however long.
    wrong = format_lazy(gettext_lazy("No such service here. There are: {names}."), names=names)
    return serializers.ChoiceField(choices=choices, error_messages={"invalid_choice": wrong})


class AskSerializer(StrictSerializer):
    """The fields of every request for a service."""

    method = services(METHODS.values())
    data = serializers.DictField(required=False, help_text="The data of the service, by its method.")  # type: ignore[assignment]
    note = CharField(required=False, allow_blank=True, max_length=asking.MOST_NOTE, help_text="For people.")
    queue = BooleanField(required=False, help_text="Wait for a dock that is offline.")
    expires_in = IntegerField(
        required=False,
        min_value=1,
        max_value=int(LONGEST_EXPIRY.total_seconds()),
        help_text="Seconds after which it is no longer sent; if not given: 60, or 600 with `queue`.",
    )

    def validate_expires_in(self, seconds: int) -> timedelta:
        return timedelta(seconds=seconds)


class AskOneSerializer(AskSerializer):
    """One service asked of one dock."""

    device = TypedField(validators=[SERIAL_NUMBER], help_text="Serial number of the dock.")


class RetrySerializer(StrictSerializer):
    """The body of a retry."""

    data = serializers.DictField(  # type: ignore[assignment]
        required=False, help_text="Replaces the data of the first call; a login needs it, with the password."
    )


class AskManySerializer(AskSerializer):
    """One service asked of many docks."""

    method = services(service for service in METHODS.values() if not service.secrets)
    devices = serializers.ListField(
        child=TypedField(validators=[SERIAL_NUMBER]),
        min_length=1,
        max_length=MOST_DEVICES,
        help_text="Serial numbers of docks of one organization; a repeated one counts once.",
    )

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        """Refuse a time to wait that would not count."""
        if {"due_at", "due_local"} & given.keys() and "expires_in" in given and not given.get("queue"):
            text = gettext("Without `queue` a planned command does not wait: it is sent when it is due, or not at all.")
            raise serializers.ValidationError({"expires_in": [text]})
        return given


class AskManyNowOrLaterSerializer(AskManySerializer):
    """One service asked of many docks, at once or at a moment."""

    due_at = MomentField(
        required=False,
        help_text=f"When to ask them, in the next {scheduling.FURTHEST.days} days, with the offset from UTC. "
        "If not given: now. `expires_in` counts from then on.",
    )


class AskManyByTimeZoneSerializer(AskManySerializer):
    """One service asked of many docks, of each when its clock shows this."""

    due_local = serializers.RegexField(
        r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$",
        error_messages={"invalid": LOCAL},
        help_text="The day and the time where each dock is, such as 2026-12-01T02:00.",
    )

    def validate_due_local(self, text: str) -> datetime:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            raise serializers.ValidationError(LOCAL) from None


class AskingViewSet(RetrieveMixin, ListModelMixin, TenantViewSet):
    """What calls and batches have in common."""

    orderings = ("-created", "updated")

    def answer_anew(self, row: Model) -> Response:
        """Answer with the row as an action left it; the action's `If-Match` was met before."""
        return self.answer(self.get_queryset().get(pk=row.pk))


class WaitingResponse(Response):
    """What a call is now, to be sent if nobody waits: `cloudapi/web/handler.py` waits for its end and answers anew."""

    def __init__(self, now: Response, waits_for: Wait) -> None:
        super().__init__(now.data, now.status_code, headers=dict(now.items()))
        self.waits_for = waits_for


class ServiceCallViewSet(AskingViewSet):
    """Services asked of docks, and their outcome."""

    queryset = ServiceCall.objects.all()
    serializer_class = ServiceCallSerializer
    filterset_class = ServiceCallFilter
    roles: ClassVar = {"create": Role.OPERATOR, "cancel": Role.OPERATOR, "retry": Role.OPERATOR}

    @property
    def parameters(self) -> frozenset[str]:  # type: ignore[override]
        """`wait`, for one call."""
        return frozenset({"wait"}) if self.action == "retrieve" else frozenset()

    @extend_schema(parameters=[OpenApiParameter("wait", WAITING, description=WAIT)])
    def retrieve(self, request: Request, *args: object, **kwargs: object) -> Response:
        """One call, at once or when it has ended."""
        seconds = wait_of(request)
        call = self.get_object()
        answer = self.answer(call)
        return WaitingResponse(answer, Wait(call.pk, seconds)) if seconds and call.is_open else answer

    @extend_schema(request=AskOneSerializer, responses={201: ServiceCallSerializer}, examples=ONE)
    @once
    @sensitive_variables()
    def create(self, request: Request) -> Response:
        """Ask a dock for a service."""
        given = AskOneSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = given.validated_data
        device = self.find(Device.objects.all(), "device", sn=wanted.pop("device"))
        self.require(Role.OPERATOR, device.organization_id)
        call = asking.issue(device=device, actor=actor(request), idempotency_key=key_of(request), **wanted)
        return self.created(call)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel a call before it is sent."""
        call = self.get_object()
        ending.cancel(call, actor=actor(request))
        return self.answer_anew(call)

    @extend_schema(request=RetrySerializer, responses={201: ServiceCallSerializer})
    @action(detail=True, methods=["post"])
    @once
    @sensitive_variables()
    def retry(self, request: Request, pk: str) -> Response:
        """Ask again, as a new call."""
        call = self.get_object()
        given = RetrySerializer(data=request.data)
        given.is_valid(raise_exception=True)
        again = asking.retry(call, actor=actor(request), idempotency_key=key_of(request), **given.validated_data)
        return self.created(again)


class ServiceCallBatchViewSet(AskingViewSet):
    """One service asked of many docks at once; its calls are at `service-calls/?batch=`."""

    queryset = ServiceCallBatch.objects.all()
    serializer_class = ServiceCallBatchSerializer
    filterset_class = BatchFilter
    roles: ClassVar = {"create": Role.OPERATOR, "by_time_zone": Role.OPERATOR, "stop": Role.OPERATOR}

    def version(self, row: Model) -> str:
        """With its calls: a client that stops a batch knows its progress."""
        latest = ServiceCall.objects.filter(batch=row.pk).aggregate(latest=Max("updated"))["latest"]
        return f"{super().version(row)}-{latest.isoformat() if latest else ''}"

    def get_serializer(self, *rows: Any, **options: Any) -> Any:
        counts = batches.counts(rows[0] if options.get("many") else rows)
        context = {**options.pop("context", self.get_serializer_context()), "counts": counts}
        return super().get_serializer(*rows, context=context, **options)

    @extend_schema(request=AskManyNowOrLaterSerializer, responses={201: ServiceCallBatchSerializer}, examples=MANY)
    @once
    def create(self, request: Request) -> Response:
        """Ask many docks for the same service, now or later; those that cannot get it are listed in `skipped`."""
        wanted = self._wanted(AskManyNowOrLaterSerializer)
        start = scheduling.schedule
        if "due_at" not in wanted:
            start = partial(batches.start, idempotency_key=key_of(request))
        return self.created(start(actor=actor(request), **wanted))

    @extend_schema(
        request=AskManyByTimeZoneSerializer, responses={201: ServiceCallBatchSerializer(many=True)}, filters=False
    )
    @action(detail=False, methods=["post"], url_path="by-time-zone", pagination_class=None)
    @once
    def by_time_zone(self, request: Request) -> Response:
        """Plan the same service for a time of day where each dock is: one batch for each time zone, all or none."""
        wanted = self._wanted(AskManyByTimeZoneSerializer)
        local, due_in = wanted.pop("due_local"), {}
        for zone in {device.time_zone for device in wanted["devices"]}:
            try:
                due_in[zone] = time_zones.moment(local, zone)
            except ValidationError as error:
                raise serializers.ValidationError({"due_local": [f"{zone}: {error.message}"]}) from None
        made = scheduling.schedule_by_zone(actor=actor(request), due_in=due_in, **wanted)
        keys = [batch.pk for batch in made]
        rows = self.get_queryset().filter(pk__in=keys).order_by("due_at", "id")
        return Response(self.get_serializer(list(rows), many=True).data, status.HTTP_201_CREATED)

    def _wanted(self, body: type[AskManySerializer]) -> dict[str, Any]:
        """What a request asks for, checked, with its docks in place of their serial numbers."""
        given = body(data=self.request.data)
        given.is_valid(raise_exception=True)
        sns = given.validated_data["devices"]
        found = Device.objects.filter(sn__in=sns).select_related("organization", "site")
        rows = {row.sn: row for row in restrict(found, self.request.user)}
        if strange := {str(place): [NONE_LIKE_THIS] for place, sn in enumerate(sns) if sn not in rows}:
            raise NotFound({"devices": strange})
        devices = list(rows.values())
        for organization_id in {device.organization_id for device in devices}:
            self.require(Role.OPERATOR, organization_id)
        if (mixed := batches.why_mixed(devices)) and not rights.in_request(self.request).may(None):
            raise serializers.ValidationError({"devices": [mixed]})
        return {**given.validated_data, "devices": devices}

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """Cancel what is not sent yet; what is sent runs on, and what is planned never starts."""
        batch = self.get_object()
        batches.stop(batch, actor=actor(request))
        return self.answer_anew(batch)
