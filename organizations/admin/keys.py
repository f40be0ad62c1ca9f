"""The admin of API keys: issued with their sheet, then renamed or revoked."""

# Before ours, for it registers the library's own kind of key, which opens nothing here.
import rest_framework_api_key.admin  # noqa: F401
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import display_for_value
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _
from rest_framework_api_key.models import APIKey

from organizations import api_keys
from organizations.admin.forms import ApiKeyForm
from organizations.admin.issuing import IssuingAdmin, StateFilter
from organizations.admin.tenant import TenantFilter, actor
from organizations.models import AuditEvent, OrganizationAPIKey, Role

RECENT = 10  # rows of a key's latest actions

admin.site.unregister(APIKey)


@admin.register(OrganizationAPIKey)
class OrganizationAPIKeyAdmin(IssuingAdmin[OrganizationAPIKey]):
    """API keys, for managers. A key keeps its role and its lifetime, also when its maker leaves: issue another one."""

    steps = api_keys
    issuing_form = ApiKeyForm
    shown = (
        "name", "organization", "prefix", "role", "state", "used", "expires", "created_by", "created", "lately",
    )  # fmt: skip
    editable = ("name",)
    sheet_template = "admin/organizations/organizationapikey/sheet.html"
    add_hint = _(
        "The key is shown once, on the next page. It belongs to the organization: it keeps working when its maker "
        "leaves, until it expires or somebody revokes it."
    )
    revoked_means = _("requests with it are refused from now on.")
    view_role = Role.MANAGER

    list_display = ("name", "prefix", "state", "role_name", "owner", "used", "expires")
    list_filter = (StateFilter, "role", ("organization", TenantFilter))
    list_select_related = ("organization",)
    search_fields = ("name", "prefix")

    def issue(
        self, request: HttpRequest, obj: OrganizationAPIKey, wanted: dict[str, object]
    ) -> tuple[OrganizationAPIKey, str]:
        return api_keys.issue(
            actor=actor(request),
            organization=obj.organization,
            name=obj.name,
            role=Role(obj.role),
            expires=obj.expiry_date,
        )

    def sheet(self, obj: OrganizationAPIKey, plain: str) -> dict[str, object]:
        shown = {"key": obj, "role": Role(obj.role).word(), "plain": plain, "server": settings.PUBLIC_URL}
        return {"title": gettext("New API key"), **shown}

    @admin.display(ordering="role", description=_("role"))
    def role_name(self, obj: OrganizationAPIKey) -> str:
        return Role(obj.role).word()

    @admin.display(ordering="last_used", description=_("last used"))
    def used(self, obj: OrganizationAPIKey) -> str:
        return display_for_value(obj.last_used, gettext("never"))

    @admin.display(ordering="expiry_date", description=_("expires"))
    def expires(self, obj: OrganizationAPIKey) -> str:
        return display_for_value(obj.expiry_date, pgettext("expiry", "never"))

    @admin.display(description=_("latest actions"))
    def lately(self, obj: OrganizationAPIKey) -> SafeString:
        events = AuditEvent.objects.filter(api_key=obj)[:RECENT]
        return render_to_string("admin/organizations/organizationapikey/lately.html", {"events": events, "key": obj})
