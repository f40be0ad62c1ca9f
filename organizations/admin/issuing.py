"""The admin of what is issued with a secret that is shown once, and revoked later."""

from collections.abc import Callable, Iterable
from typing import ClassVar, Generic, Protocol, TypeVar
from uuid import uuid4

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import DateTimeField, Model, QuerySet, TextChoices
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from organizations.admin.forms import IssuingForm, SplitDateTime
from organizations.admin.tenant import TenantAdmin, actor, readable
from organizations.audit import Actor
from organizations.language.stored import shown as translated
from organizations.models import Organization, Role
from organizations.tenancy import IssuedModel

REMEMBERED = 20  # forms whose rows a session knows
Issued = TypeVar("Issued", bound=IssuedModel)


def new_form_id() -> str:
    """What tells one showing of a form from the next."""
    return str(uuid4())


class IssuedForms:
    """The forms of one kind that a session has carried out, and what came of each: a reload posts a form again."""

    def __init__(self, request: HttpRequest, kind: str) -> None:
        self.session = request.session
        self.name = f"issued_{kind}"

    def __contains__(self, form_id: object) -> bool:
        return bool(form_id) and form_id in self.session.get(self.name, {})

    def get(self, form_id: str | None) -> int | None:
        """The primary key of what this form has issued."""
        found: int | None = self.session.get(self.name, {}).get(form_id)
        return found

    def add(self, form_id: str, outcome: object) -> None:
        if form_id:
            issued = {**self.session.get(self.name, {}), form_id: outcome}
            self.session[self.name] = dict(list(issued.items())[-REMEMBERED:])


class Steps(Protocol[Issued]):
    """What the modules `codes`, `api_keys` and `invitations` have in common."""

    @property
    def State(self) -> type[TextChoices]: ...  # noqa: N802  # a class in each of them

    def in_state(self, rows: QuerySet[Issued], state: str, /) -> QuerySet[Issued]: ...

    def revoke(self, rows: Iterable[Issued], /, *, actor: Actor) -> int: ...


class StateFilter(admin.SimpleListFilter):
    """Whether a row still opens something, or why not."""

    title = _("state")
    parameter_name = "state"

    def __init__(
        self,
        request: HttpRequest,
        params: dict[str, list[str]],
        model: type[Model],
        model_admin: "IssuingAdmin[IssuedModel]",
    ) -> None:
        self.steps = model_admin.steps
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[IssuedModel]") -> list[tuple[str, str]]:
        return self.steps.State.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[IssuedModel]) -> QuerySet[IssuedModel]:
        state = self.value()
        return self.steps.in_state(queryset, state) if state and state in self.steps.State.values else queryset


class IssuingAdmin(TenantAdmin, Generic[Issued]):
    """Rows of one organization that managers issue and revoke."""

    steps: Steps[Issued]
    issuing_form: ClassVar[type[IssuingForm]]
    shown: ClassVar[tuple[str, ...]]  # fields of a row that was issued
    editable: ClassVar[tuple[str, ...]] = ()  # of these
    sheet_template: ClassVar[str]  # the page that shows the secret
    add_hint: ClassVar[str | Promise]
    revoked_means: ClassVar[str | Promise]  # what follows "... is revoked: "

    add_role = change_role = Role.MANAGER
    actions = ("revoke_selected",)
    change_form_template = "admin/organizations/issued_change_form.html"
    formfield_overrides: ClassVar = {DateTimeField: {"widget": SplitDateTime}}

    def issue(self, request: HttpRequest, obj: Issued, wanted: dict[str, object]) -> tuple[Issued, str]:
        """Issue what a valid form asks for; returns the row and its secret."""
        raise NotImplementedError

    def sheet(self, obj: Issued, plain: str) -> dict[str, object]:
        """The context of the page that shows the secret, with its `title`."""
        raise NotImplementedError

    # --- forms -----------------------------------------------------------------------------

    def get_form(
        self, request: HttpRequest, obj: Issued | None = None, change: bool = False, **kwargs: object
    ) -> "type[ModelForm[Issued]]":
        return super().get_form(request, obj, change, form=ModelForm if change else self.issuing_form, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Issued | None = None) -> tuple[str, ...]:
        return self.shown if obj else tuple(self.issuing_form.base_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: Issued | None = None) -> tuple[str, ...]:
        return tuple(name for name in self.shown if name not in self.editable) if obj else ()

    # --- a new one -------------------------------------------------------------------------

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, str | list[str]]:
        """With the organization, if there is only one to choose, unless the address names one."""
        keys = readable(Organization.objects.all(), request, self.add_role).values_list("pk", flat=True)[:2]
        only = {"organization": str(keys[0])} if len(keys) == 1 else {}
        return {**only, **super().get_changeform_initial_data(request)}

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """A sheet that is reloaded posts its form again: it gets no second secret."""
        issued = IssuedForms(request, str(self.opts.model_name)).get(request.POST.get("form_id"))
        if issued is None or not self.model._default_manager.filter(pk=issued).exists():
            return super().add_view(request, form_url, extra_context)
        name = self.opts.verbose_name
        text = gettext(
            "This form has issued its {name} already, which cannot be shown again. Need another one? Add it."
        )
        self.message_user(request, text.format(name=name), messages.WARNING)
        return HttpResponseRedirect(self._page("change", issued))

    def save_model(self, request: HttpRequest, obj: Issued, form: "ModelForm[Issued]", change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        row, obj.plain = self.issue(request, obj, form.cleaned_data)
        obj.pk = row.pk
        obj.refresh_from_db()
        IssuedForms(request, str(self.opts.model_name)).add(form.cleaned_data["form_id"], row.pk)

    def response_add(self, request: HttpRequest, obj: Issued, post_url_continue: str | None = None) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **self.sheet(obj, obj.plain)}
        return TemplateResponse(request, self.sheet_template, context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, object], *args: object, **kwargs: object
    ) -> HttpResponse:
        context |= {"show_save_and_add_another": False, "add_hint": self.add_hint}
        if kwargs.get("add"):
            context |= {"show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **kwargs)

    # --- revoking --------------------------------------------------------------------------

    def get_actions(self, request: HttpRequest) -> dict[str, tuple[Callable[..., str], str, str] | None]:
        """Revoking is offered, deleting many at once is not: these rows are the history of who did what."""
        found = super().get_actions(request)
        found.pop("delete_selected", None)
        return found

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.revoke)
        name = f"{self.opts.app_label}_{self.opts.model_name}_revoke"
        return [path("<int:pk>/revoke/", view, name=name), *super().get_urls()]

    @admin.action(description=_("Revoke selected %(verbose_name_plural)s"), permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Issued]) -> None:
        allowed = [row for row in queryset if self.has_change_permission(request, row)]
        count = self.steps.revoke(allowed, actor=actor(request))
        self.message_user(request, gettext("{count} revoked.").format(count=count))

    @method_decorator(require_POST)
    def revoke(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Revoke one and go back to its page."""
        row = self.get_object(request, str(pk))
        if row is None:  # or not the user's to see
            raise Http404
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        is_new = self.steps.revoke([row], actor=actor(request))
        text = gettext("{name} is revoked: {meaning}") if is_new else gettext("{name} had ended before.")
        self.message_user(request, text.format(name=row, meaning=self.revoked_means))
        return HttpResponseRedirect(self._page("change", pk))

    # --- columns ---------------------------------------------------------------------------

    @admin.display(description=_("state"))
    def state(self, obj: Issued) -> SafeString:
        why = translated(obj.why_unusable(timezone.now()))
        return format_html('<span class="state {}">{}</span>', "off" if why else "on", why or gettext("usable"))

    def _page(self, page: str, pk: int) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}", args=[pk])
