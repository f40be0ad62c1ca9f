"""The admin of rows that belong to organizations: what a member sees and may do there."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.paginator import Page, Paginator
from django.db import models, transaction
from django.db.models.fields.related import RelatedField
from django.forms import ModelChoiceField, ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from mqtt_bridge.database.natural_sort import natural
from organizations import audit, rights
from organizations.audit import Actor
from organizations.models import AuditEvent, Organization, Role
from organizations.tenancy import Rows, is_platform_staff, organization_of, restrict
from organizations.typed import typed

HISTORY_ROLE = Role.MANAGER  # from which on a member may read who did what
NAMES = ("name", "callsign", "label")  # columns with texts that end in numbers
HISTORY = 500  # rows of the trail on the page of one object


def actor(request: HttpRequest) -> Actor:
    """Who acts in this request; the same for the whole request, so that its audit rows share their id."""
    if not hasattr(request, "_actor"):
        user = request.user if request.user.is_authenticated else None
        request._actor = Actor(AuditEvent.Through.ADMIN, user=user)  # type: ignore[attr-defined]
    found: Actor = request._actor  # type: ignore[attr-defined]
    return found


def roles(request: HttpRequest) -> Mapping[int, Role]:
    """The user's role by organization."""
    return rights.in_request(request).roles


def may(request: HttpRequest, role: Role | None, organization_id: int | None = None, *, anywhere: bool = False) -> bool:
    """As `Rights.may`, of the user who sent the request."""
    return rights.in_request(request).may(role, organization_id, anywhere=anywhere)


def readable(queryset: Rows, request: HttpRequest, role: Role | None) -> Rows:
    """As `Rights.readable`, of the user who sent the request."""
    return rights.in_request(request).readable(queryset, role)


class TenantFilter(admin.RelatedFieldListFilter):
    """A list filter that names only rows the user may see: `("organization", TenantFilter)`."""

    def __init__(self, field: "RelatedField[Any, Any]", *args: Any, **kwargs: Any) -> None:
        super().__init__(field, *args, **kwargs)
        if field.remote_field.model is Organization:
            self.title = _("organization")

    @property
    def include_empty_choice(self) -> bool:
        """Whether to offer rows without owner, which only platform staff see."""
        return is_platform_staff(self.request.user) and super().include_empty_choice

    def field_choices(
        self,
        field: "RelatedField[object, object]",
        request: HttpRequest,
        model_admin: "admin.ModelAdmin[models.Model]",
    ) -> Any:
        rows = restrict(field.remote_field.model._default_manager.all(), request.user)
        if rows.model is Organization:
            if len(roles(request)) < 2 and not is_platform_staff(request.user):
                return []  # there is nothing to choose
            rows = rows.filter(closed_at=None).order_by(natural("name"), "pk").only("name", "organization_id")
        return [(str(row.pk), str(row)) for row in rows]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """As Django's, which would put the whole query together for each of a thousand organizations."""
        if changelist.add_facets:  # counts stand beside the names
            yield from super().choices(changelist)
            return
        named, self.lookup_choices = self.lookup_choices, []
        everything, *nothing = super().choices(changelist)
        self.lookup_choices = named
        rest = everything["query_string"]
        start = f"{rest}{'' if rest == '?' else '&'}{self.lookup_kwarg}="
        yield everything
        for key, name in named:
            yield {"selected": key in (self.lookup_val or ()), "query_string": f"{start}{key}", "display": name}
        yield from nothing


def audit_trail_page(model_admin: "admin.ModelAdmin[Any]", request: HttpRequest, obj: models.Model) -> TemplateResponse:
    """What was done to this row while it belonged to organizations whose trail the user may read."""
    events = readable(AuditEvent.objects.select_related("user", "api_key"), request, HISTORY_ROLE)
    concrete = obj._meta.concrete_model or type(obj)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": gettext("Who did what to {name}").format(name=obj),
        "opts": model_admin.opts,
        "object": obj,
        "events": events.filter(object_type=concrete._meta.label, object_id=str(obj.pk))[:HISTORY],
    }
    return TemplateResponse(request, "admin/audit_trail.html", context)


class TenantChangeList(ChangeList):
    """A page of a list. It sorts names by the numbers in them: Pier 2 comes before Pier 16.

    It reads the choices of its filters once: an action asks for the rows again.
    """

    def get_filters(self, request: HttpRequest) -> Any:
        if not hasattr(self, "_filters"):
            self._filters = super().get_filters(request)
        return self._filters

    def get_ordering(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> list[Any]:
        found = super().get_ordering(request, queryset)
        return [
            natural(one) if isinstance(one, str) and one.removeprefix("-").split("__")[-1] in NAMES else one
            for one in found
        ]


class KeyPaginator(Paginator):  # type: ignore[type-arg]  # no generic at run time
    """The page's rows are chosen by their keys first: what is joined to show them need not be sorted."""

    object_list: models.QuerySet[models.Model]

    def page(self, number: int | str) -> "Page[Any]":
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        part = self.object_list.values_list("pk", flat=True)[first : min(first + self.per_page, self.count)]
        return Page(self.object_list.filter(pk__in=self.keys(part)), number, self)

    def keys(self, part: models.QuerySet[Any]) -> Iterable[int]:
        """By themselves: Django mixes up names of tables if a list with subqueries becomes one."""
        return list(part)


class CappedPaginator(KeyPaginator):
    """Counts no further than people page, for tables of millions of rows.

    It does not count at all for a page that fetches itself again (static/devices/refresh.js), which swaps rows only.
    """

    CAP = 10_000

    def __init__(self, rows: models.QuerySet[models.Model], per_page: int, request: HttpRequest) -> None:
        super().__init__(rows, per_page)
        self.is_refresh = "X-Refresh" in request.headers

    @cached_property
    def count(self) -> int:
        return self.CAP if self.is_refresh else self.count_of(self.object_list)

    def count_of(self, rows: models.QuerySet[models.Model]) -> int:
        """How many rows there are, no further than to the cap."""
        return rows.order_by()[: self.CAP].count()

    def keys(self, part: models.QuerySet[Any]) -> Iterable[int]:
        """In the same statement: for them alone PostgreSQL may read a large table from end to end."""
        return part

    @property
    def is_capped(self) -> bool:
        return self.count >= self.CAP


class TenantAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no generic at run time
    """Lists, choices and permissions of a model with an `organization_path`, by `Membership.role`.

    The four roles say which role a member needs for a thing; None leaves it to platform staff. Every change made in a
    form is audited.
    """

    view_role: Role | None = Role.VIEWER
    add_role: Role | None = None
    change_role: Role | None = None
    delete_role: Role | None = None

    paginator = KeyPaginator

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """What deletes stands last, below what people do all day."""
        found = super().get_actions(request)
        return dict(sorted(found.items(), key=lambda action: action[0] == "delete_selected"))

    # --- which rows ------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return readable(super().get_queryset(request), request, self.view_role)

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[ChangeList]:
        return TenantChangeList

    def filtered(self, request: HttpRequest, make: Callable[[HttpRequest], ChangeList] | None = None) -> ChangeList:
        """The list that this query string asks for, for a page or file beside it; `make` makes it another way.

        Raises PermissionDenied, and BadRequest for an unknown filter.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            return (make or self.get_changelist_instance)(request)
        except IncorrectLookupParameters as error:
            raise BadRequest(gettext("The list has no such filter.")) from error

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        return super().get_search_results(request, queryset, typed(search_term))

    def formfield_for_foreignkey(
        self, db_field: "models.ForeignKey[object, object]", request: HttpRequest, **kwargs: object
    ) -> "ModelChoiceField[models.Model] | None":
        related = db_field.remote_field.model
        if "queryset" not in kwargs and hasattr(related, "organization_path"):
            role = self.add_role if related is Organization else Role.VIEWER
            rows = readable(related._default_manager.all(), request, role)
            if related is Organization:
                rows = rows.filter(closed_at=None).order_by(natural("name"), "pk")
            kwargs["queryset"] = rows
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The row, locked while a form saves it: `save()` writes every column, and others write to the same row."""
        found = super().get_object(request, object_id, from_field)
        if found is None or request.method != "POST" or not transaction.get_connection().in_atomic_block:
            return found
        # A query of its own takes the lock, because one that counts cannot.
        locked = self.model._base_manager.select_for_update(no_key=True).filter(pk=found.pk)
        return super().get_object(request, object_id, from_field) if list(locked.values_list("pk")) else None

    def action_checkbox(self, obj: models.Model) -> SafeString:
        """The stock box, without a template for each row: that took a seventh of a list's time."""
        label = format_html(gettext("Select this object for an action - {}"), str(obj))
        box = '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">'
        return format_html(box, ACTION_CHECKBOX_NAME, obj.pk, label)

    @admin.display(ordering="organization__name", description=_("organization"))
    def owner(self, obj: Any) -> str | None:
        """The name of its organization: a column of lists."""
        return str(obj.organization.name) if obj.organization else None

    # --- who may -------------------------------------------------------------------------------

    def _may(self, request: HttpRequest, role: Role | None, obj: models.Model | None) -> bool:
        if obj is None:
            return may(request, role, anywhere=True)
        return may(request, role, organization_of(obj))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._may(request, self.view_role, None)

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self._may(request, self.view_role, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may(request, self.add_role, None)

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self._may(request, self.change_role, obj)

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self._may(request, self.delete_role, obj)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list; whoever may change rows of it may import some, where an import is."""
        return super().changelist_view(
            request, {"may_import": self.has_change_permission(request), **(extra_context or {})}
        )

    # --- the audit trail -------------------------------------------------------------------

    def may_read_history(self, request: HttpRequest, obj: models.Model) -> bool:
        """Whether the user may know who did what to this row."""
        return self._may(request, HISTORY_ROLE, obj)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The audit trail, which knows who owned the row at the time; 403 for who may not read it."""
        obj = self.get_object(request, unquote(object_id))
        if obj is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined,no-any-return]
        if not self.may_read_history(request, obj):
            raise PermissionDenied
        return audit_trail_page(self, request, obj)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        original = context.get("original")
        context["hide_history"] = original is not None and not self.may_read_history(request, original)
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: "ModelForm[Any]", change: bool) -> None:
        if change and not form.changed_data:
            return  # not written, so that the row does not count as changed
        super().save_model(request, obj, form, change)
        before = {name: form.initial.get(name) for name in form.changed_data} if change else {}
        after = {name: form.cleaned_data.get(name) for name in form.changed_data}
        self._audit(request, "change" if change else "add", obj, before, after)

    def delete_model(self, request: HttpRequest, obj: models.Model) -> None:
        self._audit(request, "delete", obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[models.Model]) -> None:
        for obj in queryset:
            self._audit(request, "delete", obj)
        super().delete_queryset(request, queryset)

    def _audit(
        self,
        request: HttpRequest,
        action: str,
        obj: models.Model,
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
    ) -> None:
        is_going = action == "delete" and isinstance(obj, Organization)
        row = audit.event(
            actor(request),
            action,
            obj,
            organization_id=None if is_going else organization_of(obj),
            before=audit.writable(before or {}),
            after=audit.writable(after or {}),
        )
        audit.record([row])


class ReadOnlyAdmin(TenantAdmin):
    """History, which not even platform staff change. It grows large, so it is not counted to its end."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count all rows

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def get_paginator(
        self,
        request: HttpRequest,
        queryset: models.QuerySet[models.Model],
        per_page: int,
        *args: object,
        **kwargs: object,
    ) -> CappedPaginator:
        return CappedPaginator(queryset, per_page, request)
