"""The web process with pages for tests of waiting: `uvicorn tests.waiting_asgi:application`."""

from django.db.backends.signals import connection_created
from django.http import JsonResponse
from django.urls import path

from cloudapi.asgi import application, protocols  # first: it sets Django up

# isort: split
from cloudapi import urls
from cloudapi.rest.rate_limit import HAS_WAITED
from devices.calls.long_poll import Wait, wait_of
from devices.models import ServiceCall

watcher = protocols.application_mapping["http"].application.watcher
queries = []


def call(request, pk):
    """A call as it stands, to whoever is signed in; waits for its end if asked to."""
    if not request.user.is_authenticated:
        return JsonResponse({}, status=401)
    found = ServiceCall.objects.get(pk=pk)
    response = JsonResponse({"status": found.status, "has_waited": HAS_WAITED in request.META})
    if found.is_open and (seconds := wait_of(request)):
        response.waits_for = Wait(found.pk, seconds)
    return response


def state(_request):
    """How many clients wait, whether anything asks for them, and how often it has."""
    return JsonResponse(
        {"waiting": len(watcher._waiters), "is_asking": watcher._task is not None, "queries": len(queries)}
    )


def count(execute, sql, params, many, context):
    if "servicecall" in sql and " IN " in sql:
        queries.append(sql)
    return execute(sql, params, many, context)


def count_queries(connection, **_more):
    connection.execute_wrappers.append(count)


connection_created.connect(count_queries)
urls.urlpatterns += [path("test/calls/<uuid:pk>/", call), path("test/state", state)]

__all__ = ["application"]
