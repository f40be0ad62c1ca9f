"""Django's admin app with our site as its default."""

from django.apps import apps
from django.contrib.admin.apps import SimpleAdminConfig
from django.utils.translation import gettext_lazy as _


class DockCloudAdminConfig(SimpleAdminConfig):  # `cloudapi/urls.py` discovers: only who serves pages needs them
    default_site = "cloudapi.admin.site.DockCloudAdminSite"

    def ready(self) -> None:
        super().ready()
        apps.get_app_config("auth").verbose_name = _("Users")
        apps.get_app_config("axes").verbose_name = _("Sign-in protection")  # its own is "Axes"
