"""Django's admin app with our site as its default."""

from django.contrib.admin.apps import SimpleAdminConfig


class DockCloudAdminConfig(SimpleAdminConfig):  # `cloudapi/urls.py` discovers: only who serves pages needs them
    default_site = "cloudapi.admin.site.DockCloudAdminSite"
