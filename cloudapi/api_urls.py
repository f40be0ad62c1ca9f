"""Where each route of the REST API is, below /api/."""

from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from cloudapi.file_jobs.api import FileJobViewSet
from cloudapi.rest import problems, views
from devices.api.broker_accounts import BrokerAccountViewSet
from devices.api.calls import ServiceCallBatchViewSet, ServiceCallViewSet
from devices.api.devices import SN_IN_PATHS, DeviceViewSet
from devices.api.exchanges import ExchangeViewSet, PassingEventViewSet
from licenses.api import DockLicenseViewSet, LicenseFileViewSet, UnlockLicenseViewSet
from organizations.api.organizations import BindingCodeViewSet, OrganizationViewSet

router = SimpleRouter()
router.register("organizations", OrganizationViewSet)
router.register("binding-codes", BindingCodeViewSet)
router.register("devices", DeviceViewSet)
router.register(rf"devices/(?P<sn>{SN_IN_PATHS})/exchanges", ExchangeViewSet)
router.register(rf"devices/(?P<sn>{SN_IN_PATHS})/events", PassingEventViewSet)
router.register(rf"devices/(?P<sn>{SN_IN_PATHS})/licenses", DockLicenseViewSet, basename="docklicense")
router.register("broker-accounts", BrokerAccountViewSet)
router.register("licenses", UnlockLicenseViewSet)
router.register("license-files", LicenseFileViewSet)
router.register("service-calls", ServiceCallViewSet)
router.register("service-call-batches", ServiceCallBatchViewSet)
router.register("file-jobs", FileJobViewSet)

urlpatterns = [
    path("schema/", views.schema, name="schema"),
    path("docs/", SpectacularSwaggerSplitView.as_view(), name="docs"),
    path("v1/", include(router.urls)),
    re_path("", problems.not_found),
]
