"""Django's registration of the app."""

from django.apps import AppConfig


class LicensesConfig(AppConfig):
    name = "licenses"
    verbose_name = "Unlock licenses"
