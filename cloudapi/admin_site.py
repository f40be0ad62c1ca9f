"""The admin's front: its name and its dashboard."""

from django.contrib.admin import AdminSite

PRODUCT = "Dock Cloud"


class DockCloudAdminSite(AdminSite):
    """The stock admin under our name; apps register on it with `@admin.register` as usual."""

    site_title = PRODUCT
    site_header = PRODUCT
    index_title = "What needs me now?"
    empty_value_display = "–"
