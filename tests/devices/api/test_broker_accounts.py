"""Accounts of the broker over REST. Who may use each door is in tests/cloudapi/rest/test_rights.py."""

from datetime import timedelta

import pytest
from django.utils import timezone

from devices.broker import accounts
from devices.models import BrokerAccount, Device
from devices.models.broker import Digest
from organizations.audit import Actor
from organizations.models import AuditEvent, IdempotentAnswer

pytestmark = pytest.mark.django_db
ROUTE = "/api/v1/broker-accounts/"
ACTOR = Actor(AuditEvent.Through.COMMAND)


def stored(row):
    return Digest(row.digest, row.salt, row.iterations)


def test_secret_is_in_the_first_answer_alone(api, manager_key, dock):
    response = api(manager_key).post(ROUTE, {"device": "DOCK0001"})
    body = response.json()
    secret = body.pop("secret")
    row = BrokerAccount.objects.get()
    assert (response.status_code, response["Cache-Control"]) == (201, "no-store")
    assert (body["username"], body["device"], body["organization"], body["usable"]) == (
        "DOCK0001", "DOCK0001", "12345678", True,
    )  # fmt: skip
    assert stored(row).matches(secret)
    assert api(manager_key).get(response["Location"]).json() == body
    assert secret not in api(manager_key).get(ROUTE).content.decode()
    assert row.digest not in api(manager_key).get(ROUTE).content.decode()
    event = AuditEvent.objects.get(action="issue broker account")
    assert (event.api_key, event.through) == (manager_key, "api")


@pytest.mark.parametrize(
    ("path", "body"), [("", {"device": "DOCK0001"}), ("DOCK0001/rotate/", {}), ("import/", {"devices": ["DOCK0001"]})]
)
def test_repeated_request_issues_nothing_new_and_its_kept_answer_has_no_secret(api, manager_key, dock, path, body):
    if "rotate" in path:
        accounts.issue(device=dock, actor=ACTOR)
    first, again = (api(manager_key).post(ROUTE + path, body, headers={"Idempotency-Key": "k1"}) for _ in range(2))
    shown = first.json()["issued"][0] if "import" in path else first.json()
    repeated = again.json()["issued"][0] if "import" in path else again.json()
    assert shown["secret"]
    assert repeated == shown | {"secret": None}
    assert again["Idempotency-Replayed"] == "true"
    assert shown["secret"] not in IdempotentAnswer.objects.get().body
    assert BrokerAccount.objects.filter(created__gte=timezone.now() - timedelta(seconds=1) * 60).count() == (
        2 if "rotate" in path else 1
    )


def test_both_secrets_are_valid_as_long_as_the_body_says(api, manager_key, dock):
    old, _ = accounts.issue(device=dock, actor=ACTOR)
    response = api(manager_key).post(f"{ROUTE}DOCK0001/rotate/", {"valid_for_hours": 2})
    old.refresh_from_db()
    assert (response.status_code, response.json()["username"]) == (201, "DOCK0001.2")
    assert timedelta(minutes=119) < old.expires_at - timezone.now() <= timedelta(hours=2)
    assert api(manager_key).get(f"{ROUTE}DOCK0001.2/").status_code == 200


def test_revoked_account_is_unusable_and_rotates_no_more(api, manager_key, dock):
    accounts.issue(device=dock, actor=ACTOR)
    for _ in range(2):
        body = api(manager_key).post(f"{ROUTE}DOCK0001/revoke/").json()
        assert (body["usable"], body["why_unusable"]) == (False, "revoked")
    assert AuditEvent.objects.filter(action="revoke broker account").count() == 1
    assert api(manager_key).post(f"{ROUTE}DOCK0001/rotate/").status_code == 409


def test_dock_with_an_account_and_aircraft_are_conflicts(api, manager_key, dock, aircraft):
    accounts.issue(device=dock, actor=ACTOR)
    second = api(manager_key).post(ROUTE, {"device": "DOCK0001"})
    assert (second.status_code, "rotate its secret" in second.json()["detail"]) == (409, True)
    assert api(manager_key).post(ROUTE, {"device": "DRONE0001"}).status_code == 403


def test_enrolment_account_is_of_the_keys_organization_and_ends_in_30_days(api, manager_key):
    body = api(manager_key).post(ROUTE, {"label": "north pier"}).json()
    row = BrokerAccount.objects.get()
    assert (body["username"], body["kind"], body["label"]) == ("enrol.12345678", "enrolment", "north pier")
    assert timedelta(days=29) < row.expires_at - timezone.now() <= timedelta(days=30)


@pytest.mark.parametrize(
    "body", [{"device": "DOCK0001", "label": "x"}, {"expires_at": "2020-01-01T00:00:00Z"}, {"device": "no/sn"}]
)
def test_what_makes_no_sense_is_refused(api, manager_key, dock, body):
    assert api(manager_key).post(ROUTE, body).status_code == 400
    assert not BrokerAccount.objects.exists()


def test_many_get_accounts_and_the_others_a_reason(api, manager_key, staff, dock, aircraft, organization):
    Device.objects.create(sn="DOCK0002", organization=organization, claim="code")
    body = api(manager_key).post(f"{ROUTE}import/", {"devices": ["DOCK0001", "DOCK0002", "DRONE0001"]}).json()
    assert [row["username"] for row in body["issued"]] == ["DOCK0001", "DOCK0002"]
    assert len({row["secret"] for row in body["issued"]}) == 2
    assert body["skipped"][0]["device"] == "DRONE0001"
    unknown = api(manager_key).post(f"{ROUTE}import/", {"devices": ["DOCK0001", "NEW1"]})
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (404, "/devices/1")
    body = api(staff).post(f"{ROUTE}import/", {"devices": ["NEW1"], "organization": "12345678"}).json()
    assert body["added"] == ["NEW1"]
    assert Device.objects.get(sn="NEW1").organization == organization


def test_dock_that_was_only_named_gets_no_account_from_a_manager(api, manager_key, organization):
    Device.objects.create(sn="NAMED1", organization=organization, claim="named", model_key="3-2-0")
    assert api(manager_key).post(ROUTE, {"device": "NAMED1"}).status_code == 403
    assert not BrokerAccount.objects.exists()


def test_list_is_filtered(api, manager_key, dock):
    accounts.issue(device=dock, actor=ACTOR)
    accounts.issue(organization=dock.organization, actor=ACTOR)
    client = api(manager_key)
    for query, names in {
        "device=DOCK0001": ["DOCK0001"],
        "kind=enrolment": ["enrol.12345678"],
        "state=unused": ["DOCK0001", "enrol.12345678"],
        "state=revoked": [],
    }.items():
        assert [row["username"] for row in client.get(f"{ROUTE}?{query}").json()["results"]] == names
