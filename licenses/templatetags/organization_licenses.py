"""The tile of an organization's licenses that end, for the page of the organization."""

from django import template
from django.utils import timezone
from django.utils.translation import ngettext

from licenses.models import UnlockLicense
from organizations.models import Organization

register = template.Library()


@register.inclusion_tag("admin/organizations/organization/tiles.html")
def organization_licenses(organization: Organization) -> dict[str, object]:
    """Licenses that are on and end within 30 days, counted as the list does; one query."""
    licenses = UnlockLicense.objects.filter(device__organization=organization).listed()
    count = licenses.expiring(timezone.now(), days=30).count()
    text = ngettext("license ends within 30 days", "licenses end within 30 days", count)
    query = f"device__organization__id__exact={organization.pk}&state=expiring-30"
    return {"tiles": [("", count, text, "admin:licenses_unlocklicense_changelist", query)]}
