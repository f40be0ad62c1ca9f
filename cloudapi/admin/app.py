"""Django's admin app with our site as its default."""

from django.contrib.admin.apps import AdminConfig


class DockCloudAdminConfig(AdminConfig):
    default_site = "cloudapi.admin.site.DockCloudAdminSite"
