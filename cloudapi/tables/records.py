"""What docks hold and what happened, as files: licenses, commands, the journal."""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from cloudapi.tables.filters import AuditFilter, JournalFilter
from cloudapi.tables.table import Column, Table
from devices.admin.calls import has_moved
from devices.api.calls import ServiceCallFilter
from devices.calls.methods import title
from devices.calls.wording import asked_by, describe, state
from devices.models import ServiceCall
from licenses import validity, wording
from licenses.api import LicenseFilter
from licenses.models import Inventory, UnlockLicense
from mqtt_bridge.models import Exchange
from organizations.models import AuditEvent


class LicenseTable(Table):
    """Unlock licenses as docks reported them."""

    model = UnlockLicense
    name = "licenses"
    filters = LicenseFilter

    def rows(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.select_related("device__organization").defer("raw")

    def columns(self) -> Sequence[Column]:
        now = timezone.now()
        return [
            Column("dock", _("Dock"), lambda row: row.device.sn),
            Column("callsign", _("Callsign"), lambda row: row.device.callsign),
            Column(
                "organization", _("Organization"), lambda row: row.device.organization and row.device.organization.name
            ),
            Column(
                "inventory",
                _("Inventory"),
                lambda row: str(dict(Inventory.choices).get(row.device_model_domain, "")) or None,
            ),
            Column("license_id", _("License"), lambda row: row.license_id),
            Column("name", _("Name"), lambda row: row.name),
            Column("type", _("Type"), lambda row: wording.type_name(row.type)),
            Column("allows", _("Allows"), wording.describe),
            Column("bound_to", _("Bound to"), lambda row: row.device_sn),
            Column("group_id", _("Group"), lambda row: row.group_id),
            Column("begins", _("Begins"), lambda row: row.begin_time, is_time=True),
            Column("ends", _("Ends"), lambda row: row.end_time, is_time=True),
            Column("enabled", _("Switched on"), lambda row: row.enabled),
            Column("standing", _("Standing"), lambda row: str(validity.standing(row, now).words)),
            Column("note", _("Note"), lambda row: row.note),
        ]


class CallTable(Table):
    """Commands to docks: their data has no secrets, for those are kept elsewhere and not for long."""

    model = ServiceCall
    name = "service-calls"
    filters = ServiceCallFilter

    def rows(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.select_related("device", "organization", "requested_by", "requested_with")

    def columns(self) -> Sequence[Column]:
        return [
            Column("id", _("Command"), lambda row: str(row.pk)),
            Column("dock", _("Dock"), lambda row: row.device.sn),
            # The name of a dock that has moved is its new owner's.
            Column("callsign", _("Callsign"), lambda row: "" if has_moved(row) else row.device.callsign),
            Column("organization", _("Organization"), lambda row: row.organization.name),
            Column("method", _("Method"), lambda row: row.method),
            Column("asked_for", _("Asked for"), lambda row: title(row.method, row.data)),
            Column("state", _("State"), lambda row: state(row)[1]),
            Column("result", _("Result"), describe),
            Column("result_code", _("Result code"), lambda row: row.result_code),
            Column("asked_by", _("Asked by"), asked_by),
            Column("created", _("Asked"), lambda row: row.created, is_time=True),
            Column("sent", _("Sent"), lambda row: row.sent, is_time=True),
            Column("closed", _("Closed"), lambda row: row.closed, is_time=True),
            Column("note", _("Note"), lambda row: row.note),
            Column("tid", _("tid"), lambda row: row.tid and str(row.tid)),
        ]


class AuditTable(Table):
    """Who did what: the words of the page, and beside them the codes, which do not change with the language."""

    model = AuditEvent
    name = "audit-events"
    filters = AuditFilter

    def rows(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.select_related("user", "api_key", "organization")

    def columns(self) -> Sequence[Column]:
        return [
            Column("at", _("Time"), lambda row: row.at, is_time=True),
            Column("who", _("Who"), lambda row: str(row.who)),
            Column("through", _("Through"), lambda row: row.through),
            Column("done", _("What was done"), lambda row: row.done),
            Column("changes", _("Values"), lambda row: "; ".join(map(str, row.changes))),
            Column("organization", _("Organization"), lambda row: row.organization and row.organization.name),
            Column("action", _("Action"), lambda row: row.action),
            Column("object_type", _("Object type"), lambda row: row.object_type),
            Column("object_id", _("Object key"), lambda row: row.object_id),
            Column("object_name", _("Object"), lambda row: row.object_name),
            Column("request_id", _("Request"), lambda row: str(row.request_id)),
        ]


class JournalTable(Table):
    """Messages of docks and our answers, without their bodies, which would make files of gigabytes."""

    model = Exchange
    name = "exchanges"
    filters = JournalFilter

    def rows(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.select_related("organization").defer("payload", "reply")

    def columns(self) -> Sequence[Column]:
        return [
            Column("received_at", _("Received"), lambda row: row.received_at, is_time=True),
            Column("gateway", _("Gateway"), lambda row: row.gateway_sn),
            Column("organization", _("Organization"), lambda row: row.organization and row.organization.name),
            Column("channel", _("Channel"), lambda row: row.channel),
            Column("method", _("Method"), lambda row: row.method),
            Column("outcome", _("Outcome"), lambda row: row.became),
            Column("reason", _("Reason"), lambda row: row.reason),
            Column("by_enrolment", _("Through enrolment"), lambda row: row.by_enrolment),
            Column("device_time", _("By the device's clock"), lambda row: row.device_time, is_time=True),
            Column("tid", _("tid"), lambda row: row.tid),
            Column("bid", _("bid"), lambda row: row.bid),
        ]
