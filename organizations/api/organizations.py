"""REST: organizations and their binding codes."""

from typing import ClassVar

import django_filters
from django.db import transaction
from django.db.models import Model, QuerySet
from django.views.decorators.debug import sensitive_variables
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from cloudapi.rest.filters import BooleanFilter, ChoiceFilter, SinceFilter
from organizations import audit, codes, fleet
from organizations.api.filters import OrganizationIDFilter
from organizations.api.tenant import PatchMixin, RetrieveMixin, TenantViewSet, actor
from organizations.models import BindingCode, Organization, Role
from organizations.serializers import (
    BindingCodeSerializer,
    IssuedBindingCodeSerializer,
    NewBindingCodeSerializer,
    OrganizationSerializer,
)


class OrganizationFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Filters of organizations."""

    is_active = BooleanFilter(help_text="Whether its codes bind docks.")
    updated_since = SinceFilter("updated")

    class Meta:
        model = Organization
        fields = ()


class OrganizationViewSet(RetrieveMixin, PatchMixin, ListModelMixin, TenantViewSet):
    """Customers: platform staff add them, their managers may rename them."""

    queryset = Organization.objects.all()
    serializer_class = OrganizationSerializer
    filterset_class = OrganizationFilter
    search_fields = ("organization_id", "name")
    orderings = ("organization_id", "name", "created", "updated")
    lookup_field = "organization_id"
    lookup_value_regex = "[A-Za-z0-9_-]{1,64}"
    roles: ClassVar = {"partial_update": Role.MANAGER}
    field_roles: ClassVar = dict.fromkeys(("is_active", "device_limit", "app_id", "app_key", "app_license"))

    def get_queryset(self) -> QuerySet[Model]:
        rows = super().get_queryset()
        return fleet.with_counts(rows) if "counts" in self.included() else rows

    @transaction.atomic
    @sensitive_variables()
    def create(self, request: Request) -> Response:
        """Make an organization; platform staff only."""
        given = self.get_serializer(data=request.data)
        given.is_valid(raise_exception=True)
        row = given.save()
        after = audit.writable(given.validated_data)
        audit.record([audit.event(actor(request), "add", row, organization_id=row.pk, after=after)])
        return self.created(row)


class BindingCodeFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Filters of binding codes."""

    organization = OrganizationIDFilter()
    state = ChoiceFilter(
        choices=codes.State.choices, method="in_state", help_text="`usable` finds those that expire soon, too."
    )

    updated_since = SinceFilter("updated")

    class Meta:
        model = BindingCode
        fields = ()

    def in_state(self, rows: QuerySet[BindingCode], _name: str, value: str) -> QuerySet[BindingCode]:
        """Codes by what became of them."""
        return codes.in_state(rows, value)


class BindingCodeViewSet(RetrieveMixin, PatchMixin, ListModelMixin, TenantViewSet):
    """Binding codes: what technicians type beside a dock to bind it."""

    queryset = BindingCode.objects.all()
    serializer_class = BindingCodeSerializer
    filterset_class = BindingCodeFilter
    search_fields = ("label", "hint")
    orderings = ("id", "created", "expires_at", "label", "updated")
    roles: ClassVar = dict.fromkeys(("create", "partial_update", "revoke"), Role.MANAGER)

    @extend_schema(request=NewBindingCodeSerializer, responses={201: IssuedBindingCodeSerializer})
    @transaction.atomic
    @sensitive_variables()
    def create(self, request: Request) -> Response:
        """Issue a code; this answer alone shows it."""
        given = NewBindingCodeSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = dict(given.validated_data)
        organization = self.organization(wanted.pop("organization", None), Role.MANAGER)
        row, plain = codes.issue(actor=actor(request), organization=organization, **wanted)
        response = self.created(row)
        response.data["code"] = plain
        response["Cache-Control"] = "no-store"
        return response

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    @transaction.atomic
    def revoke(self, request: Request, pk: str) -> Response:
        """End a code: it binds nothing any more, what it has bound stays bound. Once more changes nothing."""
        row = self.get_object()
        codes.revoke([row], actor=actor(request))
        return self.answer(self.get_queryset().get(pk=row.pk))
