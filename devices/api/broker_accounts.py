"""REST: accounts of the broker, of docks and for enrolment. Only the answer that makes one has its secret."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

import django_filters
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext, override
from django.views.decorators.debug import sensitive_variables
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from cloudapi.rest.fields import CharField, IntegerField, StrictSerializer
from cloudapi.rest.filters import ChoiceFilter, SinceFilter
from cloudapi.rest.including import IncludingSerializer
from cloudapi.rest.problems import Problem
from devices.api.calls import SERIAL_NUMBER
from devices.broker import accounts, importing, states
from devices.models import BrokerAccount, Device
from organizations import rights
from organizations.api.filters import OrganizationIDFilter, TypedFilter
from organizations.api.idempotency import once
from organizations.api.tenant import NONE_LIKE_THIS, RetrieveMixin, TenantViewSet, actor
from organizations.models import Role
from organizations.serializers import TypedField
from organizations.tenancy import restrict

HOURS: Final = int(accounts.OVERLAP.total_seconds() // 3600)
MOST_HOURS: Final = 24 * 365
SHOWN_ONCE: Final = (
    "What the dock shows the broker as its password. In this one answer and never again; null when the same request is "
    "repeated with its `Idempotency-Key`: rotate the account then."
)


class BrokerAccountSerializer(IncludingSerializer):
    """An account of the broker without its secret, which is stored nowhere."""

    related: ClassVar = ("organization", "device", "created_by")

    device = serializers.CharField(source="device.sn", read_only=True, allow_null=True, default=None)
    organization = serializers.CharField(
        source="organization.organization_id",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="Null: of the platform, or of a dock that nobody owns.",
    )
    usable = serializers.SerializerMethodField(help_text="Whether the broker lets it in now.")
    why_unusable = serializers.SerializerMethodField(help_text="In words; empty if it is usable.")
    created_by = serializers.CharField(
        source="created_by.username",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="Null if an API key made it.",
    )

    class Meta:
        model = BrokerAccount
        fields = (
            "id", "username", "kind", "device", "organization", "label", "usable", "why_unusable", "expires_at",
            "revoked_at", "last_connected_at", "last_address", "created_by", "created", "updated",
        )  # fmt: skip
        read_only_fields = fields

    def get_usable(self, account: BrokerAccount) -> bool:
        return not account.why_unusable(timezone.now())

    def get_why_unusable(self, account: BrokerAccount) -> str:
        return account.why_unusable(timezone.now())


class IssuedBrokerAccountSerializer(BrokerAccountSerializer):
    """An account that was just made."""

    secret = serializers.CharField(read_only=True, allow_null=True, help_text=SHOWN_ONCE)

    class Meta(BrokerAccountSerializer.Meta):
        fields = (*BrokerAccountSerializer.Meta.fields, "secret")  # type: ignore[assignment]


class NewBrokerAccountSerializer(StrictSerializer):
    """Whose account is to be made."""

    device = TypedField(
        required=False,
        validators=[SERIAL_NUMBER],
        help_text="The dock's own account, which does not expire. Absent: an account for enrolment.",
    )
    organization = TypedField(
        required=False,
        help_text="For enrolment: its `organization_id`; not needed by an API key or a user who manages just one.",
    )
    label = CharField(  # type: ignore[assignment]  # the stubs' Field has a label, too
        required=False, allow_blank=True, max_length=100, help_text="For enrolment."
    )
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="For enrolment. Absent: in 30 days. Null: never."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "device" in attrs and len(attrs) > 1:
            extra = sorted(attrs.keys() - {"device"})
            why = gettext("Not for a dock's own account.")
            raise serializers.ValidationError({name: [why] for name in extra})
        return attrs

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        if value is not None and value <= timezone.now():
            raise serializers.ValidationError(gettext("This time is over already."))
        return value


class RotationSerializer(StrictSerializer):
    """For how long the old secret stays valid."""

    valid_for_hours = IntegerField(default=HOURS, min_value=0, max_value=MOST_HOURS, help_text="0: it ends at once.")


class ManySerializer(StrictSerializer):
    """The docks that get accounts of their own."""

    devices = serializers.ListField(
        child=TypedField(validators=[SERIAL_NUMBER]),
        min_length=1,
        max_length=importing.MOST,
        help_text="Serial numbers. Only platform staff may name unknown ones, which are added.",
    )
    organization = TypedField(required=False, help_text="Whose unknown docks become; absent: whoever binds them.")


class WithoutAccountSerializer(serializers.Serializer[Any]):
    """A dock that got no account."""

    device = serializers.CharField()
    reason = serializers.CharField(help_text="In words.")


class ImportedSerializer(serializers.Serializer[Any]):
    """What became of many."""

    issued = IssuedBrokerAccountSerializer(many=True)
    added = serializers.ListField(child=serializers.CharField(), help_text="Serial numbers that were unknown.")
    skipped = WithoutAccountSerializer(many=True)


class BrokerAccountFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Which accounts."""

    device = TypedFilter("device__sn", help_text="Serial number of the dock.")
    organization = OrganizationIDFilter()
    kind = ChoiceFilter(choices=BrokerAccount.Kind.choices)
    state = ChoiceFilter(
        choices=states.State.choices, method="in_state", help_text="`usable` finds unused and expiring ones, too."
    )
    updated_since = SinceFilter("updated", help_text="Each connection counts as a change.")

    class Meta:
        model = BrokerAccount
        fields = ()

    def in_state(self, rows: QuerySet[BrokerAccount], _name: str, value: str) -> QuerySet[BrokerAccount]:
        """Accounts by what became of them."""
        return states.in_state(rows, value)


class BrokerAccountViewSet(RetrieveMixin, ListModelMixin, TenantViewSet):
    """Accounts of the broker, for managers: each dock's own, and those for enrolment."""

    queryset = BrokerAccount.objects.all()
    serializer_class = BrokerAccountSerializer
    filterset_class = BrokerAccountFilter
    search_fields = ("username", "label")
    orderings = ("id", "created", "username", "updated")
    lookup_field = "username"
    lookup_value_regex = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}"
    view_role = Role.MANAGER
    roles: ClassVar = dict.fromkeys(("create", "rotate", "revoke", "many"), Role.MANAGER)

    @extend_schema(request=NewBrokerAccountSerializer, responses={201: IssuedBrokerAccountSerializer})
    @once
    @transaction.atomic
    @sensitive_variables()
    def create(self, request: Request) -> Response:
        """Issue an account; this answer alone shows its secret."""
        given = NewBrokerAccountSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = dict(given.validated_data)
        if "device" in wanted:
            device = self.find(Device.objects.select_related("organization"), "device", sn=wanted["device"])
            if not self._may_manage(device):
                why = gettext("Only a manager of the organization that this dock bound to may.")
                self.permission_denied(request, why)
            row, secret = _or_conflict(lambda: accounts.issue(actor=actor(request), device=device))
        else:
            organization = self.organization(wanted.pop("organization", None), Role.MANAGER)
            wanted.setdefault("expires_at", timezone.now() + accounts.ENROLMENT_LIFETIME)
            row, secret = accounts.issue(actor=actor(request), organization=organization, **wanted)
        return self._shown_once(self.created(row), secret)

    @extend_schema(request=RotationSerializer, responses={201: IssuedBrokerAccountSerializer})
    @action(detail=True, methods=["post"])
    @once
    @transaction.atomic
    @sensitive_variables()
    def rotate(self, request: Request, username: str) -> Response:
        """Make an account that takes over from this one, which stays valid for a while; the answer shows its secret."""
        given = RotationSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        old = self.get_object()
        valid_for = timedelta(hours=given.validated_data["valid_for_hours"])
        row, secret = _or_conflict(lambda: accounts.rotate(old, actor=actor(request), valid_for=valid_for))
        return self._shown_once(self.created(row), secret)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, username: str) -> Response:
        """End an account: the broker throws out who uses it. Once more changes nothing."""
        row = self.get_object()
        accounts.revoke([row], actor=actor(request))
        return self.answer(self.get_queryset().get(pk=row.pk))

    @extend_schema(request=ManySerializer, responses=ImportedSerializer)
    @action(detail=False, methods=["post"], url_path="import")
    @once
    @transaction.atomic
    @sensitive_variables()
    def many(self, request: Request) -> Response:
        """Issue an account to each of many docks; this answer alone shows the secrets."""
        given = ManySerializer(data=request.data)
        given.is_valid(raise_exception=True)
        sns, wanted = given.validated_data["devices"], given.validated_data.get("organization")
        is_staff = rights.in_request(request).may(None)
        if not is_staff:
            visible = set(restrict(Device.objects.filter(sn__in=sns), request.user).values_list("sn", flat=True))
            if strange := {str(place): [NONE_LIKE_THIS] for place, sn in enumerate(sns) if sn not in visible}:
                raise NotFound({"devices": strange})
        owner = self.organization(wanted, Role.MANAGER) if wanted else None
        with override("en"):  # its reasons are data
            done = importing.bring_in(
                sns, actor=actor(request), may_manage=self._may_manage, may_add=is_staff, owner=owner
            )
        rows = {row.pk: row for row in self.get_queryset().filter(pk__in=[row.pk for row in done.accounts])}
        issued = [{**self.get_serializer(rows[row.pk]).data, "secret": row.plain} for row in done.accounts]
        skipped = [{"device": sn, "reason": reason} for sn, reason in done.skipped]
        response = Response({"issued": issued, "added": done.added, "skipped": skipped})
        response["Cache-Control"] = "no-store"
        response.repeatable = response.data | {"issued": [one | {"secret": None} for one in issued]}  # type: ignore[attr-defined]  # for `once`
        return response

    def _may_manage(self, device: Device) -> bool:
        owner = device.speaks_for
        return rights.in_request(self.request).may(Role.MANAGER, owner.pk if owner else None)

    def _shown_once(self, response: Response, secret: str) -> Response:
        response.repeatable = response.data | {"secret": None}  # type: ignore[attr-defined]  # for `once`
        response.data = response.data | {"secret": secret}
        response["Cache-Control"] = "no-store"
        return response


def _or_conflict(step: Callable[[], tuple[BrokerAccount, str]]) -> tuple[BrokerAccount, str]:
    """What the step makes; 409 if the state of the dock or of the account does not allow it."""
    try:
        return step()
    except ValidationError as error:
        raise Problem(409, "conflict", " ".join(error.messages)) from None
