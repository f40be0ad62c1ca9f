"""Two organizations that bind the same docks at the same moment, each over a database connection of its own."""

import os
import threading

import pytest
from django.db import IntegrityError, connections, transaction
from django.utils import timezone

from devices import binding, pairing
from devices.models import Device
from devices.models.devices import DeviceQuerySet
from mqtt_bridge.database.prepared import Prepared
from organizations.models import BindingCode, Organization
from tests.devices.test_binding import ELSEWHERE, OK, wanted

pytestmark = [pytest.mark.django_db(transaction=True)]
DOCKS = 1000 if os.environ.get("FAULT_FULL") else 60
AT_ONCE = 5  # requests in one batch of the bridge


@pytest.fixture
def race(organization, other_organization):
    """race() lets both bind all docks; the answers of each, by serial number. Half of the docks are known before."""
    Organization.objects.update(device_limit=None)
    codes = {row: BindingCode.objects.issue(organization=row)[1] for row in (organization, other_organization)}
    sns = [f"DOCK{number:04}" for number in range(DOCKS)]
    Device.objects.bulk_create(Device(sn=sn, model_key="3-2-0") for sn in sns[: DOCKS // 2])
    together = threading.Barrier(2, timeout=120)

    def claim(owner, told):
        for start in range(0, DOCKS, AT_ONCE):
            entries = [wanted(sn, codes[owner], owner.organization_id) for sn in sns[start : start + AT_ONCE]]
            requests = [binding.Request(entry.sn, [entry]) for entry in entries]
            together.wait()
            while entries:
                try:
                    with transaction.atomic():
                        results = binding.bind(requests, now=timezone.now())
                except IntegrityError:  # the other one made the same row; the bridge tries again, too
                    continue
                told |= {entry.sn: result.err_code for entry, [result] in zip(entries, results, strict=True)}
                break
        connections.close_all()

    def run():
        told = {owner.pk: {} for owner in codes}
        threads = [threading.Thread(target=claim, args=(owner, told[owner.pk])) for owner in codes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=300)
        return told

    return run


def winners(told):
    """How many docks each organization was told that it has, and of how many both were."""
    mine, theirs = ({sn for sn, code in answers.items() if code == OK} for answers in told.values())
    return len(mine), len(theirs), len(mine & theirs)


def test_each_dock_goes_to_the_one_that_was_told_so(race, report):
    told = race()
    mine, theirs, both = winners(told)
    report(f"{DOCKS} docks: {mine} to one organization, {theirs} to the other, {both} to both")
    assert (mine + theirs, both) == (DOCKS, 0)
    owners = dict(Device.objects.values_list("sn", "organization"))
    for owner, answers in told.items():
        assert {sn for sn, code in answers.items() if code == OK} == {sn for sn in owners if owners[sn] == owner}
        assert set(answers.values()) <= {OK, ELSEWHERE}


@pytest.mark.turns(3)
def test_without_the_lock_both_are_told_that_they_have_it(race, report, monkeypatch):
    monkeypatch.setattr(DeviceQuerySet, "lock_in_order", lambda rows: rows.order_by("sn"))
    monkeypatch.setattr(pairing, "CONCERNED", Prepared(Device, pairing._concerned))  # compiled without it
    _, _, both = winners(race())
    report(f"{DOCKS} docks, no lock: both were told that they have {both}")
    assert both > 0
