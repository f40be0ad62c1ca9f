"""What an import does: first tried out in a transaction that is undone, then done, all of it or nothing.

The library's `Resource` knows fields, errors by row and differences; what is saved goes through the steps that forms
and REST take.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Any, ClassVar, Final, NamedTuple

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import override
from import_export.fields import Field
from import_export.resources import ModelResource
from import_export.results import RowResult
from tablib import Dataset

from cloudapi.tables.reading import MOST_ROWS, UnreadableError
from organizations.audit import Actor
from organizations.models import Organization, Role
from organizations.rights import Rights

UTC_MARK: Final = " (utc)"  # in the head of a time


class Problem(NamedTuple):
    """Why a row of the file cannot be taken."""

    row: str
    text: str


class Change(NamedTuple):
    """What becomes, or became, of one row: each value with its head, before and after."""

    row: str
    is_new: bool
    name: str
    values: list[tuple[str, object, object]]


class Outcome(NamedTuple):
    """What an import would do, or has done."""

    problems: list[Problem]
    changes: list[Change]
    unchanged: int
    ignored: list[str]  # heads of columns that are not read
    secrets: list[tuple[Any, str]]  # rows that were made with what is shown once

    @property
    def new(self) -> int:
        return sum(change.is_new for change in self.changes)

    @property
    def changed(self) -> int:
        return len(self.changes) - self.new


class RowsResource(ModelResource):  # type: ignore[misc]  # the library has no types
    """Rows of one table, for what this user may do, by one actor."""

    name: ClassVar[str]  # in the address of REST and in `FileJob.table`
    role: ClassVar[Role] = Role.MANAGER  # from which on a member may import at all
    most: ClassVar[int] = MOST_ROWS  # rows of a file; beyond MOST_ROWS a worker imports it
    needed: ClassVar[tuple[str, ...]]  # columns without which nothing can be done

    def __init__(self, *, rights: Rights, actor: Actor) -> None:
        super().__init__()
        self.rights = rights
        self.actor = actor
        self.organizations: dict[str, Organization] = {}
        self.only: Organization | None = None
        self.places: dict[str, str] = {}  # the row of each key in this file
        self.offset = 0  # rows of the file before those that are given
        self.added: Counter[int] = Counter()  # new rows by the key of their organization
        self.undone: Counter[int] = Counter()  # the same, of what was tried out before
        self.secrets: list[tuple[Any, str]] = []

    @classmethod
    def labels(cls) -> dict[str, str]:
        """The head of each column, by its name."""
        raise NotImplementedError

    @classmethod
    def explained(cls, organization_id: str) -> dict[str, tuple[str, str]]:
        """What may stand in each column, by its name, and an example, with this ID of an organization."""
        raise NotImplementedError

    def before_import(self, dataset: Dataset, **kwargs: Any) -> None:
        """Read the organizations that this user may choose, of those that the file names; at most two queries."""
        open_ones = Organization.objects.filter(closed_at=None).defer("app_key", "app_license")
        mine = self.rights.readable(open_ones, self.role)
        few = list(mine[:2])
        self.only = few[0] if len(few) == 1 else None
        ids = dataset["organization_id"] if "organization_id" in dataset.headers else []
        self.organizations = {row.organization_id: row for row in mine.filter(organization_id__in=set(ids))}

    def organization(self, row: dict[str, str]) -> Organization | None:
        """The organization of a row, by its ID; None if it names none. Raises ValidationError for one of others."""
        key = row.get("organization_id", "")
        if key and key not in self.organizations:
            raise ValidationError(_("You have no organization with the ID {id}.").format(id=key))
        return self.organizations.get(key)

    def once(self, key: str, row_number: int) -> None:
        """Raise ValidationError for a key that an earlier row of the file has."""
        if key in self.places:
            raise ValidationError(_("{key} is in row {row} already.").format(key=key, row=self.places[key]))
        self.places[key] = str(self.offset + row_number + 1)

    def init_instance(self, row: object = None) -> Model:
        made: Model = self._meta.model()
        return made

    def run(self, dataset: Dataset, *, dry: bool) -> Outcome:
        """Try it out or do it: nothing is saved if a row has a problem."""
        named, ignored = self.with_our_names(dataset)
        result = self.import_data(named, dry_run=dry, use_transactions=True, rollback_on_validation_errors=True)
        if result.base_errors:
            raise result.base_errors[0].error
        problems, changes, unchanged = [], [], 0
        for (number,), row in zip((tags for _cells, tags in _tagged(named)), result.rows, strict=True):
            if row.errors:
                raise row.errors[0].error
            if row.validation_error is not None:
                problems += [Problem(number, text) for text in texts_of(row.validation_error, self.labels())]
            elif row.import_type == RowResult.IMPORT_TYPE_SKIP:
                unchanged += 1
            else:
                changes.append(self.change_of(number, row, named.headers))
        if dry:
            self.undone += self.added
            self.added.clear()
        return Outcome(problems, changes, unchanged, ignored, [] if dry or problems else self.secrets)

    def with_our_names(self, dataset: Dataset) -> tuple[Dataset, list[str]]:
        """The same rows under the names of our columns, for heads may be words; and which columns are left out.

        The words are those of each language: a file may come from somebody who reads another one.
        """
        names = {name: name for name in self.labels()}
        for language, _name in settings.LANGUAGES:
            with override(language):
                names |= {label.casefold(): name for name, label in self.labels().items()}
        heads = [names.get(head.casefold().removesuffix(UTC_MARK)) for head in dataset.headers]
        for name in filter(None, heads):
            if heads.count(name) > 1:
                raise UnreadableError(_("Two columns are “{head}”.").format(head=self.labels()[name]))
        if missing := [self.labels()[name] for name in self.needed if name not in heads]:
            raise UnreadableError(_("The file has no column “{head}”.").format(head="”, “".join(missing)))
        taken = [place for place, name in enumerate(heads) if name]
        found = Dataset(headers=[heads[place] for place in taken])
        for cells, tags in _tagged(dataset):
            found.append([cells[place] for place in taken], tags=tags)
        return found, [head for head, name in zip(dataset.headers, heads, strict=True) if not name]

    def change_of(self, number: str, row: RowResult, heads: Sequence[str]) -> Change:
        values = []
        for field in self.get_import_fields():
            after = field.get_value(row.instance)
            before = field.get_value(row.original) if row.original is not None else None
            if field.column_name in heads and (after or "") != (before or ""):
                values.append((self.labels()[field.column_name], before or "", after or ""))
        return Change(number, row.is_new(), str(row.instance), values)


def _tagged(dataset: Dataset) -> Any:
    return zip(dataset, (row.tags for row in dataset._data), strict=True)


def texts_of(error: ValidationError, labels: dict[str, str]) -> list[str]:
    if not hasattr(error, "error_dict"):
        return list(error.messages)
    return [
        _("{about}: {text}").format(about=labels[name], text=text) if name in labels else text
        for name, texts in error.message_dict.items()
        for text in texts
    ]


def moment(text: str) -> datetime:
    """A day or a moment, in UTC if it names no zone; raises ValidationError."""
    try:
        found = parse_datetime(text)
        if found is None and (day := parse_date(text)) is not None:
            found = datetime.combine(day, time())
    except ValueError:
        found = None
    if found is None:
        raise ValidationError(_("“{text}” is not a time such as 2030-01-31 or 2030-01-31 18:00.").format(text=text))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def column(name: str, attribute: str | None = None) -> Field:
    """A column of the file, by the attribute of the row that it fills."""
    return Field(attribute=attribute or name, column_name=name)
