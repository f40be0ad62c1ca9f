"""Every address of the admin that its URL configuration names: for each role, and for rows of other organizations."""

import re

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.test import Client, RequestFactory
from django.urls import get_resolver
from django.utils import timezone

from cloudapi import urls  # noqa: F401  (registers the pages)
from devices.models import Acknowledgement, Device
from mqtt_bridge.models import Heartbeat
from organizations.models import AuditEvent, Organization, Role
from tests.cast import member
from tests.shared_world import *  # noqa: F403  (fixtures, in place of the cast's)

pytestmark = pytest.mark.usefixtures("world")
PLACE = re.compile(r"<(?:\w+:)?(\w+)>")
KEYS = {"pk", "object_id", "id"}
OUR_APPS = ("organizations", "devices", "licenses", "mqtt_bridge")
FOREIGN = ("Northern", "NORTHERN", "87654321", "charlie", "northern-guest")
MODELS = {f"{model._meta.app_label}/{model._meta.model_name}": model for model in admin.site._registry}


def addresses(patterns, start=""):
    for pattern in patterns:
        address = start + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from addresses(pattern.url_patterns, address)
        else:
            yield address


ALL = [address.removeprefix("admin/") for address in addresses(get_resolver().url_patterns) if "admin/" in address[:6]]
MODEL_OF = {address: MODELS.get("/".join(address.split("/")[:2])) for address in ALL}
MODEL_OF["licenses/unlocklicense/dock/<int:pk>/"] = MODEL_OF["search/"] = Device
MODEL_OF["acknowledge/<slug:kind>/"] = MODEL_OF["acknowledged/<int:pk>/end/"] = Acknowledgement
MODEL_OF["bridge/"] = MODEL_OF["help/"] = Heartbeat
MODEL_OF["licenses/unlocklicense/dock/<int:pk>/update-file/"] = Device
# Django's own are in tests/cloudapi/test_admin_pages.py, exports of lists in tests/cloudapi/tables/test_exports.py.
STOCK = re.compile(r"\w+/\w+/(add/|export/|<path:object_id>/((history|delete|change)/)?)?")
OURS = {address for address in ALL if MODEL_OF[address] and not STOCK.fullmatch(address)}
IS_ROWS = {address: bool(KEYS & set(PLACE.findall(address))) for address in ALL}
CHANGES = {address for address in ALL if address.endswith(("/change/", "/delete/")) and not address.startswith("axes")}


def filled(address, key):
    """The address with the key of a row, and the first of each choice."""
    values = {"command": "read-dock", "side": "on", "kind": "trouble"}
    return "/admin/" + PLACE.sub(lambda place: str(values.get(place[1], key)), address)


# What a viewer, an operator, a manager and platform staff get, for GET and for POST. 302 leads to a list or to a row's
# page with a message; 405 is for all who ask so, and 404 for who must not know that there is such a thing.
TABLE = {
    "acknowledge/<slug:kind>/": ((403, 200, 200, 200), (403, 200, 200, 200)),
    "acknowledged/<int:pk>/end/": ((405, 405, 405, 405), (403, 302, 302, 302)),
    "auth/user/<id>/password/": ((403, 403, 403, 200), (403, 403, 403, 200)),
    "bridge/": ((200, 200, 200, 200), (200, 200, 200, 200)),
    "devices/brokeraccount/<int:pk>/revoke/": ((405, 405, 405, 405), (403, 403, 302, 302)),
    "devices/device/<path:object_id>/commands/": ((200, 200, 200, 200), (403, 200, 200, 200)),
    "devices/device/<path:object_id>/trace/": ((405, 405, 405, 405), (403, 302, 302, 302)),
    "devices/device/clear-out/": ((403, 403, 403, 200), (403, 403, 403, 200)),
    "devices/device/commands/<slug:command>/": ((403, 302, 302, 302), (403, 302, 302, 302)),
    "devices/device/credentials/": ((403, 403, 302, 302), (403, 403, 302, 302)),
    "devices/device/import/": ((403, 200, 200, 200), (403, 200, 200, 200)),
    "devices/device/import/<str:job>/": ((403, 404, 404, 404), (403, 404, 404, 404)),
    "devices/device/geojson/": ((200, 200, 200, 200), (405, 405, 405, 405)),
    "devices/device/grouping/": ((403, 302, 302, 302), (403, 302, 302, 302)),
    "devices/device/inbox/": ((403, 403, 403, 200), (403, 403, 403, 302)),
    "devices/device/map/": ((200, 200, 200, 200), (405, 405, 405, 405)),
    "devices/device/release/": ((403, 403, 302, 302), (403, 403, 302, 302)),
    "devices/device/rename/": ((403, 302, 302, 302), (403, 302, 302, 302)),
    "devices/device/retire/": ((403, 403, 302, 302), (403, 403, 302, 302)),
    "devices/device/transfer/": ((403, 403, 403, 302), (403, 403, 403, 302)),
    "devices/dockconnection/credentials/": ((403, 403, 302, 302), (403, 403, 302, 302)),
    "devices/dockconnection/export.csv": ((200, 200, 200, 200), (405, 405, 405, 405)),
    "devices/dockconnection/import/": ((403, 403, 200, 200), (403, 403, 200, 200)),
    "devices/servicecall/<path:object_id>/cancel/": ((405, 405, 405, 405), (403, 302, 302, 302)),
    "devices/servicecall/<path:object_id>/retry/": ((405, 405, 405, 405), (403, 302, 302, 302)),
    "devices/servicecallbatch/<path:object_id>/retry/": ((403, 200, 200, 200), (403, 302, 302, 302)),
    "devices/servicecallbatch/<path:object_id>/stop/": ((405, 405, 405, 405), (403, 302, 302, 302)),
    "help/": ((200, 200, 200, 200), (405, 405, 405, 405)),
    "licenses/licensefile/<int:pk>/download/": ((200, 200, 200, 200), (405, 405, 405, 405)),
    "licenses/unlocklicense/<int:pk>/switch/": ((405, 405, 405, 405), (403, 302, 302, 302)),
    "licenses/unlocklicense/dock/<int:pk>/": ((200, 200, 200, 200), (200, 200, 200, 200)),
    "licenses/unlocklicense/dock/<int:pk>/update-file/": ((405, 405, 405, 405), (403, 302, 302, 302)),
    "licenses/unlocklicense/export.csv": ((200, 200, 200, 200), (405, 405, 405, 405)),
    "licenses/unlocklicense/geojson/": ((200, 200, 200, 200), (405, 405, 405, 405)),
    "licenses/unlocklicense/map/": ((200, 200, 200, 200), (405, 405, 405, 405)),
    "licenses/unlocklicense/switch-by/": ((403, 302, 302, 302), (403, 302, 302, 302)),
    "licenses/unlocklicense/switch/<str:side>/": ((403, 302, 302, 302), (403, 302, 302, 302)),
    "licenses/unlocklicense/timeline/": ((200, 200, 200, 200), (405, 405, 405, 405)),
    "organizations/bindingcode/<int:pk>/revoke/": ((405, 405, 405, 405), (403, 403, 302, 302)),
    "organizations/bindingcode/import/": ((403, 403, 200, 200), (403, 403, 200, 200)),
    "organizations/bindingcode/import/<str:job>/": ((403, 403, 404, 404), (403, 403, 404, 404)),
    "organizations/filejob/<path:object_id>/cancel/": ((405, 405, 405, 405), (403, 403, 302, 302)),
    "organizations/filejob/<path:object_id>/confirm/": ((405, 405, 405, 405), (403, 403, 403, 403)),
    "organizations/filejob/<path:object_id>/file/": ((302, 302, 302, 302), (302, 302, 302, 302)),
    "organizations/invitation/<int:pk>/mail/": ((405, 405, 405, 405), (404, 404, 302, 302)),
    "organizations/invitation/<int:pk>/revoke/": ((405, 405, 405, 405), (404, 404, 302, 302)),
    "organizations/invitation/import/": ((403, 403, 200, 200), (403, 403, 200, 200)),
    "organizations/invitation/import/<str:job>/": ((403, 403, 404, 404), (403, 403, 404, 404)),
    "organizations/membership/<int:pk>/password-reset/": ((405, 405, 405, 405), (403, 403, 302, 302)),
    "organizations/organization/<int:pk>/close/": ((403, 403, 403, 200), (403, 403, 403, 200)),
    "organizations/organization/<int:pk>/reopen/": ((405, 405, 405, 405), (403, 403, 403, 302)),
    "organizations/organizationapikey/<int:pk>/revoke/": ((405, 405, 405, 405), (404, 404, 302, 302)),
    "search/": ((200, 200, 200, 200), (405, 405, 405, 405)),
}
ROLES = (Role.VIEWER, Role.OPERATOR, Role.MANAGER, "staff")
FORM = {"command": "read-dock", "enable": "on"}


@pytest.fixture(scope="module")
def as_role(created, django_db_blocker):
    """as_role(role) is the browser of such a member of Harbour Survey, or of platform staff."""

    browsers = {role: Client() for role in ROLES}
    with django_db_blocker.unblock():
        harbour = Organization.objects.get(organization_id="12345678")
        for role in ROLES[:3]:
            browsers[role].force_login(member(f"the-{role}", harbour, role))
        people = get_user_model().objects
        browsers["staff"].force_login(people.create_superuser("root", "root@example.org", "right password"))
    return browsers.get


def row_of(model, organization):
    rows = model._default_manager.order_by("pk")
    if hasattr(model, "organization_path"):
        path = model.organization_path
        rows = rows.filter(**{path: organization} if path else {"pk": organization.pk})
    return rows.first()


def test_the_table_names_every_address_of_ours():
    assert set(TABLE) == OURS


@pytest.mark.parametrize("address", sorted(TABLE))
def test_a_role_may_do_what_the_table_says(as_role, organization, address):
    Heartbeat.objects.update(beat_at=timezone.now())  # a dock is known to be offline only while the bridge is well
    row = row_of(MODEL_OF[address], organization)
    for place, role in enumerate(ROLES):
        got = as_role(role).get(filled(address, row.pk)), as_role(role).post(filled(address, row.pk), FORM)
        assert [answer.status_code for answer in got] == [of_method[place] for of_method in TABLE[address]], role


@pytest.mark.parametrize("address", sorted({address for address in OURS | CHANGES if IS_ROWS[address]}))
def test_a_manager_reaches_no_row_of_another_organization(as_role, other_organization, address):
    model = MODEL_OF[address]
    row = row_of(model, other_organization)
    before = model._default_manager.filter(pk=row.pk).values().get()
    for method in ("get", "post") if address in OURS else ("post",):  # Django's own are read in test_admin_pages.py
        answer = getattr(as_role(Role.MANAGER), method)(filled(address, row.pk), FORM | {"post": "yes"})
        assert answer.status_code in (302, 403, 404, 405), method
        assert not [name for name in FOREIGN if name in answer.content.decode()], method
    assert model._default_manager.filter(pk=row.pk).values().get() == before


@pytest.mark.turns(2)
@pytest.mark.parametrize("address", sorted(address for address in OURS if not IS_ROWS[address]))
def test_no_list_page_or_file_names_another_organization(as_role, other_organization, address):
    """Not even when keys of its rows are asked for."""
    row = row_of(MODEL_OF[address], other_organization)
    asked = {"devices": row.pk, "licenses": row.pk, "deed": "issue", "_selected_action": row.pk, "dock": row.pk}
    for query in ({}, asked):
        for method in ("get", "post"):
            answer = getattr(as_role(Role.MANAGER), method)(filled(address, row.pk), query, follow=True)
            text = b"".join(answer).decode()
            assert not [name for name in FOREIGN if name in text], (method, query)


def test_every_model_belongs_to_an_organization_or_is_named_here():
    """What has no path to an organization is shown to nobody, or to platform staff, or with the row it belongs to."""
    ours = [model for model in apps.get_models() if model.__module__.split(".")[0] in OUR_APPS]
    assert {model.__name__ for model in ours if not hasattr(model, "organization_path")} == {
        "Pairing", "DeviceState", "DeviceAccount", "ServiceCallEvent", "ServiceCallSecret",  # with their device or call
        "SecondFactor", "RecoveryCode", "UserSession", "Preference", "SavedFilter",  # each person's own
        "BindingFailure", "Heartbeat", "Certificate", "IdempotentAnswer",
    }  # fmt: skip


# --- actions of lists ------------------------------------------------------------------------------

# From which role on each is offered.
ACTIONS = {
    "devices/brokeraccount": {"revoke_selected": Role.MANAGER},
    "devices/device": {
        "delete_selected": "staff",
        "disable_selected": Role.MANAGER,
        "enable_selected": Role.MANAGER,
        "group_selected": Role.OPERATOR,
        "issue_credentials": Role.MANAGER,
        "login_selected": Role.OPERATOR,
        "read_aircraft_selected": Role.OPERATOR,
        "read_dock_selected": Role.OPERATOR,
        "release_selected": Role.MANAGER,
        "rename_selected": Role.OPERATOR,
        "restore_selected": "staff",
        "retire_selected": Role.MANAGER,
        "revoke_credentials": Role.MANAGER,
        "rotate_credentials": Role.MANAGER,
        "switch_selected": Role.OPERATOR,
        "transfer_selected": "staff",
        "update_file_selected": Role.OPERATOR,
        "update_selected": Role.OPERATOR,
    },
    "devices/dockconnection": {
        "issue_credentials": Role.MANAGER,
        "revoke_credentials": Role.MANAGER,
        "rotate_credentials": Role.MANAGER,
    },
    "devices/label": {"delete_selected": Role.MANAGER},
    "devices/servicecall": {"cancel_selected": Role.OPERATOR, "retry_selected": Role.OPERATOR},
    "devices/site": {"delete_selected": Role.MANAGER},
    "licenses/unlocklicense": {"switch_off_selected": Role.OPERATOR, "switch_on_selected": Role.OPERATOR},
    "organizations/bindingcode": {"revoke_selected": Role.MANAGER},
    "organizations/bindingfailure": {"clear_lockout": "staff"},
    "organizations/invitation": {"revoke_selected": Role.MANAGER},
    "organizations/organizationapikey": {"revoke_selected": Role.MANAGER},
}
OFFERED = [(path, action) for path, actions in ACTIONS.items() for action in actions]


def test_the_table_says_from_which_role_on_each_action_is_offered(as_role):
    found = {}
    for path, model in MODELS.items():
        for role in reversed(ROLES) if path.split("/")[0] in OUR_APPS else ():
            for query in ({}, {"retired": "yes"}):
                request = RequestFactory().get("/", query)
                request.user = get_user_model().objects.get(pk=as_role(role).session["_auth_user_id"])
                for action in admin.site._registry[model].get_actions(request):
                    found.setdefault(path, {})[action] = role
    assert found == ACTIONS


@pytest.mark.parametrize(("path", "action"), OFFERED)
def test_an_action_reaches_no_row_of_another_organization_and_nothing_for_a_lower_role(
    as_role, organization, other_organization, path, action
):
    model, lowest = MODELS[path], ACTIONS[path][action]
    own, foreign = row_of(model, organization), row_of(model, other_organization)
    before = list(model._default_manager.order_by("pk").values())
    deeds = AuditEvent.objects.count()
    tries = [(role, own) for role in ROLES[: ROLES.index(lowest)]]
    if own != foreign:
        tries.append((Role.MANAGER, foreign))
    for role, row in tries:
        asked = {"action": action, "_selected_action": row.pk, "post": "yes", "apply": "1"}
        text = as_role(role).post(f"/admin/{path}/", asked, follow=True).content.decode()
        assert not [name for name in FOREIGN if name in text], role
    assert list(model._default_manager.order_by("pk").values()) == before
    assert AuditEvent.objects.count() == deeds
