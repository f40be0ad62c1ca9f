"""The admin of what is issued with a secret that is shown once, and revoked later."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from organizations.admin.tenant import TenantAdmin, actor
from organizations.models import Organization, Role

REMEMBERED = 20  # forms whose rows a session knows


class StateFilter(admin.SimpleListFilter):
    """Whether a row still opens something, or why not."""

    title = "state"
    parameter_name = "state"

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        self.steps = model_admin.steps
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[Any]") -> Any:
        return self.steps.State.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in self.steps.State.values:
            return queryset
        found: QuerySet[Any] = self.steps.in_state(queryset, self.value())
        return found


class IssuingAdmin(TenantAdmin):
    """Rows of one organization that managers issue and revoke; their forms are `forms.IssuingForm`."""

    steps: ClassVar[Any]  # the module that issues and revokes: `revoke`, `State` and `in_state`
    sheet_template: ClassVar[str]  # the page that shows the secret
    add_hint: ClassVar[str]
    revoked_means: ClassVar[str]  # what follows "... is revoked: "

    add_role = change_role = Role.MANAGER
    actions = ("revoke_selected",)
    change_form_template = "admin/organizations/issued_change_form.html"

    def issue(self, request: HttpRequest, obj: Any, wanted: dict[str, Any]) -> tuple[Any, str]:
        """Issue what a valid form asks for; returns the row and its secret."""
        raise NotImplementedError

    def sheet(self, obj: Any, plain: str) -> dict[str, Any]:
        """What the page that shows the secret needs, with its `title`."""
        raise NotImplementedError

    # --- a new one -------------------------------------------------------------------------

    def get_changeform_initial_data(self, request: HttpRequest) -> Any:
        """With the only organization that there is to choose, unless the address names one."""
        keys = list(self._organizations(request).values_list("pk", flat=True)[:2])
        only = {"organization": keys[0]} if len(keys) == 1 else {}
        return {**only, **super().get_changeform_initial_data(request)}

    def _organizations(self, request: HttpRequest) -> QuerySet[Organization]:
        field: Any = self.formfield_for_foreignkey(self.model._meta.get_field("organization"), request)
        choices: QuerySet[Organization] = field.queryset
        return choices

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """A sheet that is reloaded posts its form again: it gets no second secret."""
        issued = request.session.get(self._remembered, {}).get(request.POST.get("form_id"))
        if issued is None or not self.model._default_manager.filter(pk=issued).exists():
            return super().add_view(request, form_url, extra_context)
        name = self.opts.verbose_name
        text = f"This form has issued its {name} already, which cannot be shown again. Need another one? Add it."
        self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(self._page("change", issued))

    def save_model(self, request: HttpRequest, obj: Any, form: "ModelForm[Any]", change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        row, plain = self.issue(request, obj, form.cleaned_data)
        obj.pk = row.pk
        obj.refresh_from_db()
        if form_id := form.cleaned_data["form_id"]:
            issued = {**request.session.get(self._remembered, {}), form_id: row.pk}
            request.session[self._remembered] = dict(list(issued.items())[-REMEMBERED:])
        obj.plain = plain  # for the sheet that answers this request, and nowhere else

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **self.sheet(obj, obj.plain)}
        return TemplateResponse(request, self.sheet_template, context)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        context |= {"show_save_and_add_another": False, "add_hint": self.add_hint}
        if kwargs.get("add"):
            context |= {"show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **kwargs)

    # --- revoking --------------------------------------------------------------------------

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Revoking is offered, deleting many at once is not: these rows are the history of who did what."""
        found = super().get_actions(request)
        found.pop("delete_selected", None)
        return found

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.revoke)
        name = f"{self.opts.app_label}_{self.opts.model_name}_revoke"
        return [path("<int:pk>/revoke/", view, name=name), *super().get_urls()]

    @admin.action(description="Revoke selected %(verbose_name_plural)s", permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        allowed = [row for row in queryset if self.has_change_permission(request, row)]
        self.message_user(request, f"{self.steps.revoke(allowed, actor=actor(request))} revoked.")

    @method_decorator(require_POST)
    def revoke(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Revoke one and go back to its page."""
        row = self.get_object(request, str(pk))
        if row is None:  # or not hers to see
            raise Http404
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        is_new = self.steps.revoke([row], actor=actor(request))
        self.message_user(request, f"{row} is revoked: {self.revoked_means}" if is_new else f"{row} had ended before.")
        return HttpResponseRedirect(self._page("change", pk))

    # --- columns ---------------------------------------------------------------------------

    @admin.display
    def state(self, obj: Any) -> SafeString:
        why = obj.why_unusable(timezone.now())
        return format_html('<span class="state {}">{}</span>', "off" if why else "on", why or "usable")

    @property
    def _remembered(self) -> str:
        """Where the session keeps which row each form has issued."""
        return f"issued_{self.opts.model_name}"

    def _page(self, page: str, *args: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}", args=args)
