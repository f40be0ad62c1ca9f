"""What REST takes as filters of an export, where it has no list of these rows or one of another kind."""

import django_filters
from django.db.models import Model, QuerySet

from cloudapi.rest.filters import BeforeFilter, ChoiceFilter, SinceFilter
from devices.api.devices import DeviceFilter
from devices.api.exchanges import ExchangeFilter
from organizations.api.filters import OrganizationIDFilter, TypedFilter
from organizations.models import Role


class OwnerFilter(django_filters.FilterSet):  # type: ignore[misc]
    """By whose they are."""

    organization = OrganizationIDFilter()


class UnretiredFilter(DeviceFilter):
    """Devices, without those that are retired unless they are asked for."""

    def filter_queryset(self, queryset: QuerySet[Model]) -> QuerySet[Model]:
        found: QuerySet[Model] = super().filter_queryset(queryset)
        return found if self.data.get("retired") == "true" else found.filter(retired_at=None)


class ConnectionFilter(OwnerFilter):
    """Docks, by their serial number."""

    device = TypedFilter("sn")


class MemberFilter(OwnerFilter):
    """Members."""

    role = ChoiceFilter(choices=[(role.value, role.value) for role in Role])


class AuditFilter(OwnerFilter):
    """Who did what."""

    action = django_filters.CharFilter()
    since = SinceFilter("at")
    until = BeforeFilter("at")


class JournalFilter(ExchangeFilter, OwnerFilter):
    """Messages of all gateways."""

    device = TypedFilter("gateway_sn")
