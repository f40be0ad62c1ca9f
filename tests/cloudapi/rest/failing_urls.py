"""The server's routes, and some that fail."""

from django.urls import path
from rest_framework.response import Response
from rest_framework.views import APIView

from cloudapi.urls import handler500 as handler500
from cloudapi.urls import urlpatterns as real


class FailingView(APIView):
    """A fault of ours."""

    def get(self, request):
        raise RuntimeError("the innermost secret")

    def post(self, request):
        return Response({"given": request.data})


def fail(request):
    raise RuntimeError("the innermost secret")


urlpatterns = [
    path("api/v1/failing/", FailingView.as_view(permission_classes=[])),
    path("api/v1/plain-failing/", fail),
    path("failing/", fail),
    *real,
]
