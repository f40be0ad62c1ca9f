"""No address causes a server error, whatever replaces a number or a word in it."""

import json
import os
import random
import re
from urllib.parse import quote, urlencode

import pytest
from django.contrib import admin
from django.urls import NoReverseMatch, get_resolver, reverse

from cloudapi import urls  # noqa: F401  (registers the pages)
from cloudapi.rest import views
from tests.shared_world import *  # noqa: F403  (fixtures, in place of the cast's)

pytestmark = pytest.mark.django_db
HUGE = ["9" * 23, "-" + "9" * 23, str(2**63), str(2**31)]
ODD = ["-1", "1e5", "NaN", "\0", "", "１２３", "\u200b1", "9" * 5000]
OF_LISTS = ("q", "p", "o", "all", "e", "_facets", "_to_field", "_popup", "_changelist_filters")


def names_of(model, model_admin):
    """What the addresses of this list take."""
    yield from OF_LISTS
    yield from (f"{model._meta.pk.name}{lookup}" for lookup in ("", "__exact", "__in", "__gt"))
    for entry in model_admin.list_filter:
        path = entry[0] if isinstance(entry, tuple) else entry
        if not isinstance(path, str):
            yield path.parameter_name
            continue
        yield from (f"{path}{lookup}" for lookup in ("", "__exact", "__in", "__id__exact", "__isnull", "__gte"))


def lists_of_the_admin(values):
    """The list of every model, with each value in each parameter."""
    for model, model_admin in admin.site._registry.items():
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for name in dict.fromkeys(names_of(model, model_admin)):
            yield from (f"{address}?{urlencode({name: value})}" for value in values)


def paths(values, resolver=None, namespace=""):
    """Every path that has a part which changes, with each value there."""
    resolver = resolver or get_resolver()
    for name, (_prefix, inner) in resolver.namespace_dict.items():
        yield from paths(values, inner, f"{namespace}{name}:")
    for name in resolver.reverse_dict:
        if not isinstance(name, str):
            continue
        for forms, *_ in resolver.reverse_dict.getlist(name):
            for _, parameters in forms:
                for value in values if parameters else ():
                    try:
                        yield reverse(f"{namespace}{name}", kwargs=dict.fromkeys(parameters, value))
                    except NoReverseMatch:
                        continue


def of_rest(values):
    """Every operation of the REST schema that reads, with each value in each of its parameters."""
    for path, operations in json.loads(views.document())["paths"].items():
        parameters = operations.get("get", {}).get("parameters", [])
        inner = re.findall(r"{(\w+)}", path)
        usual = {"sn": "HARBOURDOCK", "organization_id": "12345678"}
        for value in values:
            for name in inner:
                filled = {other: usual.get(other, "1") for other in inner} | {name: quote(value, safe="") or "%20"}
                yield path.format_map(filled)
            address = path.format_map({name: usual.get(name, "1") for name in inner})
            for parameter in parameters:
                if parameter["in"] == "query":
                    yield f"{address}?{urlencode({parameter['name']: value})}"


def addresses(values):
    """All of them, each once."""
    return list(dict.fromkeys([*lists_of_the_admin(values), *paths(values), *of_rest(values)]))


@pytest.mark.turns(2)
@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("value", HUGE + ODD, ids=lambda value: repr(value[:24]))
def test_no_address_is_a_fault_of_the_server(client, staff, value):
    """The values take turns, unless ADDRESSES_FULL is set, and the longest number stands in every sixth address."""
    client.force_login(staff)
    client.raise_request_exception = False
    values = [*HUGE, *ODD]
    first, step = (random.randrange(6), 6) if value == HUGE[0] else (values.index(value), len(values))
    found = addresses([value]) if "ADDRESSES_FULL" in os.environ else addresses([value])[first::step]
    assert len(found) > 10
    assert [address for address in found if client.get(address).status_code >= 500] == []
