"""Where each route of the REST API is, below /api/."""

from django.urls import include, path, re_path
from rest_framework.routers import SimpleRouter

from cloudapi.rest import problems
from devices.api import DeviceViewSet
from organizations.api import BindingCodeViewSet, OrganizationViewSet

router = SimpleRouter()
router.register("organizations", OrganizationViewSet)
router.register("binding-codes", BindingCodeViewSet)
router.register("devices", DeviceViewSet)

urlpatterns = [
    path("v1/", include(router.urls)),
    re_path("", problems.not_found),
]
