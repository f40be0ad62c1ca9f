"""Which lists have a table of their own; every other list is exported as its page shows it."""

from typing import Final

from django.contrib.admin.views.main import ChangeList
from django.db.models import Model
from django.http import HttpRequest

from cloudapi.tables.devices import ConnectionTable, DeviceTable
from cloudapi.tables.organizations import CodeTable, MemberTable
from cloudapi.tables.records import AuditTable, CallTable, JournalTable, LicenseTable
from cloudapi.tables.table import ListTable, Table

OWN: Final[tuple[type[Table], ...]] = (
    AuditTable, CallTable, CodeTable, ConnectionTable, DeviceTable, JournalTable, LicenseTable, MemberTable,
)  # fmt: skip
TABLES: Final[dict[type[Model], type[Table]]] = {table.model: table for table in OWN}


NAMED: Final[dict[str, type[Table]]] = {table.name: table for table in OWN}


def name_of(model: type[Model]) -> str:
    """What a job calls the list of this model."""
    return TABLES[model].name if model in TABLES else model._meta.label_lower


def table_of(page: ChangeList, request: HttpRequest) -> Table:
    """The table of a list."""
    if (own := TABLES.get(page.model)) is not None:
        return own(request)
    return ListTable(request, page.model_admin, page.list_display)
