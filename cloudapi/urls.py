"""Where each page is."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from cloudapi.web import health
from devices.broker import http as broker
from devices.consumers import DeviceConsumer, NotFoundConsumer, OrganizationConsumer
from licenses import views as licenses
from organizations.language import views as language
from organizations.people import views as people
from organizations.views import welcome

admin.autodiscover()

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("welcome/<str:token>/", welcome, name="welcome"),
    path("admin/", admin.site.urls),
    path("sign-in/code/", people.sign_in_code, name="sign_in_code"),
    path("sign-in/provider/", people.to_provider, name="to_provider"),
    path("sign-in/provider/callback/", people.from_provider, name="from_provider"),
    path("second-factor/", people.second_factor_page, name="second_factor"),
    path("second-factor/set-up/", people.set_up_second_factor, name="second_factor_set_up"),
    path("saved-filters/", people.save_filter, name="save_filter"),
    path("saved-filters/<int:pk>/delete/", people.delete_saved_filter, name="delete_saved_filter"),
    path("language/", language.set_language, name="set_language"),
    path("preferences/", language.preferences, name="preferences"),
    path("sessions/", people.sessions_page, name="sessions"),
    path("password-reset/", people.ResetPassword.as_view(), name="password_reset"),
    path("password-reset/sent/", people.ResetSent.as_view(), name="password_reset_done"),
    path("password-reset/<uidb64>/<token>/", people.ChoosePassword.as_view(), name="password_reset_confirm"),
    path("password-reset/done/", people.PasswordChosen.as_view(), name="password_reset_complete"),
    path("api/", include("cloudapi.api_urls")),
    # docks come here without a session
    path("license-files/<str:token>/", licenses.license_file),
    path("license-files/<str:token>/<str:name>", licenses.license_file, name="license_file"),
    # EMQX asks here, with a secret of its own
    path("mqtt/auth", broker.auth),
    path("mqtt/acl", broker.acl),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
]

handler500 = "cloudapi.error_reports.server_error"

websocket_urlpatterns = [
    re_path(r"^ws/devices/(?P<sn>[A-Za-z0-9][A-Za-z0-9_-]{0,63})/\Z", DeviceConsumer.as_asgi()),
    re_path(r"^ws/organizations/(?P<organization_id>[A-Za-z0-9_-]{1,64})/\Z", OrganizationConsumer.as_asgi()),
    re_path("", NotFoundConsumer.as_asgi()),
]
