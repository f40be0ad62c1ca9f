"""Binding codes and members as files, without anything secret."""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from cloudapi.tables.filters import MemberFilter
from cloudapi.tables.table import Column, Table
from organizations.api.organizations import BindingCodeFilter
from organizations.models import BindingCode, Membership
from organizations.tenancy import is_platform_staff


def owner_columns() -> list[Column]:
    """Whose row it is."""
    return [
        Column("organization", _("Organization"), lambda row: row.organization.name),
        Column("organization_id", _("Organization ID"), lambda row: row.organization.organization_id),
    ]


class CodeTable(Table):
    """Binding codes: of the code itself the last four characters, as pages show them."""

    model = BindingCode
    name = "binding-codes"
    filters = BindingCodeFilter

    def rows(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.select_related("organization", "created_by").defer("digest")

    def columns(self) -> Sequence[Column]:
        now = timezone.now()
        return [
            Column("label", _("Label"), lambda row: row.label),
            Column("ends_in", _("Ends in"), lambda row: row.hint),
            *owner_columns(),
            Column("state", _("State"), lambda row: str(row.state_at(now).label)),
            Column("uses", _("Uses"), lambda row: row.uses),
            Column("max_uses", _("Most uses"), lambda row: row.max_uses),
            Column("expires_at", _("Expires"), lambda row: row.expires_at, is_time=True),
            Column("revoked_at", _("Revoked"), lambda row: row.revoked_at, is_time=True),
            Column("created", _("Created"), lambda row: row.created, is_time=True),
            Column("created_by", _("Created by"), lambda row: row.created_by and row.created_by.get_username()),
        ]


class MemberTable(Table):
    """Members; the last sign-in is for platform staff, as on the page."""

    model = Membership
    name = "members"
    filters = MemberFilter

    def rows(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.select_related("user", "organization")

    def columns(self) -> Sequence[Column]:
        found = [
            Column("username", _("User name"), lambda row: row.user.get_username()),
            *owner_columns(),
            Column("role", _("Role"), lambda row: row.role),
        ]
        if is_platform_staff(self.request.user):
            found.append(Column("last_sign_in", _("Last sign-in"), lambda row: row.user.last_login, is_time=True))
        return found
