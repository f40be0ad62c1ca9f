"""Docks, aircraft and remote controllers as a file; and how each dock connects to the broker."""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from cloudapi.tables.filters import ConnectionFilter, UnretiredFilter
from cloudapi.tables.table import Column, Table
from devices.admin.connections import alive_accounts, shown
from devices.models import Device, DockConnection
from devices.presence import watch
from organizations.admin.tenant import roles
from organizations.tenancy import is_platform_staff


def dock_columns() -> list[Column]:
    """Which dock, and whose."""
    return [
        Column("sn", _("Serial number"), lambda row: row.sn),
        Column("callsign", _("Callsign"), lambda row: row.callsign),
        Column("organization", _("Organization"), lambda row: row.organization and row.organization.name),
        Column(
            "organization_id", _("Organization ID"), lambda row: row.organization and row.organization.organization_id
        ),
    ]


class DeviceTable(Table):
    """The list of devices; its first five columns are those that an import takes."""

    model = Device
    name = "devices"
    filters = UnretiredFilter

    def rows(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        found = queryset.select_related("organization", "state", "gateway", "site").prefetch_related("labels")
        return found.defer("state__properties", "state__told")

    def columns(self) -> Sequence[Column]:
        watched, held, staff = watch(), roles(self.request), is_platform_staff(self.request.user)

        def gateway(row: Device) -> str:
            is_mine = row.gateway is not None and (staff or row.gateway.organization_id in held)
            return row.gateway.sn if row.gateway and is_mine else ""

        def of_state(name: str) -> Any:
            return lambda row: getattr(getattr(row, "state", None), name, None)

        def labels(row: Device) -> str:
            return ", ".join(one.name for one in row.labels.all() if one.organization_id == row.organization_id)

        return [
            *dock_columns(),
            Column("model_key", _("Model key"), lambda row: row.model_key),
            Column("product", _("Product"), lambda row: row.model_name),
            Column("site", _("Site"), lambda row: row.site and row.site.name),
            Column("labels", _("Labels"), labels),
            Column("gateway", _("In the dock"), gateway),
            Column("presence", _("Presence"), lambda row: str(watched.presence(getattr(row, "state", None)).label)),
            Column("last_seen", _("Last seen"), of_state("seen"), is_time=True),
            Column("firmware", _("Firmware"), of_state("firmware_version")),
            Column("latitude", _("Latitude"), of_state("latitude")),
            Column("longitude", _("Longitude"), of_state("longitude")),
            Column("enabled", _("Enabled"), lambda row: row.is_enabled),
            Column("bound_at", _("Bound"), lambda row: row.bound_at, is_time=True),
            Column("retired_at", _("Retired"), lambda row: row.retired_at, is_time=True),
        ]


class ConnectionTable(Table):
    """Who connects with what: one account of each dock, the one in use."""

    model = DockConnection
    name = "connections"
    filters = ConnectionFilter

    def rows(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.select_related("organization").prefetch_related(alive_accounts(timezone.now()))

    def columns(self) -> Sequence[Column]:
        def of_account(name: str) -> Any:
            return lambda row: getattr(shown(row, row.alive_accounts).account, name, None)

        return [
            *dock_columns(),
            Column("connects_with", _("Connects with"), lambda row: str(shown(row, row.alive_accounts).way.label)),
            Column("user_name", _("User name"), of_account("username")),
            Column("issued", _("Issued"), of_account("created"), is_time=True),
            Column("last_connected", _("Last connected"), of_account("last_connected_at"), is_time=True),
            Column("last_address", _("Last address"), of_account("last_address")),
            Column("ends", _("Ends"), of_account("expires_at"), is_time=True),
            Column("last_enrolment", _("Last enrolment"), lambda row: row.enrolled_at, is_time=True),
        ]
