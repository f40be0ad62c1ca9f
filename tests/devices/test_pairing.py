"""Pairings in any order of what docks send and people do: two docks, three aircraft, two organizations."""

import os
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from devices import binding, device_state, topology
from devices.models import Device, DeviceState, Pairing
from devices.topology import Report
from mqtt_bridge.protocol.messages import BindDevice, SubDevice, UpdateTopo
from mqtt_bridge.telemetry import Frame
from organizations.audit import Actor
from organizations.models import AuditEvent, BindingCode, Organization

pytestmark = pytest.mark.django_db

DOCKS = ("DOCK1", "DOCK2")
AIRCRAFT = ("BIRD1", "BIRD2", "BIRD3")
M4D = "0-100-0"
docks = st.sampled_from(DOCKS)
one = st.sampled_from(AIRCRAFT)
some = st.lists(one, max_size=2, unique=True)
flags = st.sampled_from([None, True, False])


class Field(RuleBasedStateMachine):
    """Everything that may happen to pairings; what must hold after every step are the invariants."""

    def __init__(self):
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.now = timezone.now() - timedelta(hours=1)
        self.codes = {}
        for number, limit in ((1, None), (2, 3)):
            organization = Organization.objects.create(
                organization_id=f"{number}" * 8, name=f"O{number}", device_limit=limit
            )
            self.codes[organization.organization_id] = BindingCode.objects.issue(organization=organization)[1]

    def teardown(self):
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    def tick(self):
        self.now += timedelta(seconds=2)
        return self.now

    # --- what docks send ---

    @rule(dock=docks, aircraft=some, organization=st.sampled_from(["11111111", "22222222"]), with_key=st.booleans())
    def bind(self, dock, aircraft, organization, with_key):
        wanted = [(dock, "3-3-0"), *((sn, M4D) for sn in aircraft)]
        devices = [
            BindDevice(
                sn=sn,
                device_model_key=key if with_key else "",
                organization_id=organization,
                device_binding_code=self.codes[organization],
            )
            for sn, key in wanted
        ]
        request = binding.Request(dock, devices)
        [results] = binding.bind([request], now=self.tick())
        for device, result in zip(devices, results, strict=True):
            if result.err_code == 0:
                assert owner(device.sn) == organization
                if device.sn != dock and owner(dock) == organization:
                    assert is_paired(dock, device.sn)
        # The same again is answered the same, and changes nothing.
        before = everything()
        [again] = binding.bind([request], now=self.tick())
        assert [result.err_code for result in again] == [result.err_code for result in results]
        assert everything() == before

    @rule(dock=docks, aircraft=some, domain=st.sampled_from(["0", ""]))
    def topology(self, dock, aircraft, domain):
        shown_before = {sn: shown_in(sn) for sn in AIRCRAFT}
        subs = [SubDevice(sn=sn, domain=domain, type=100 if domain else None) for sn in aircraft]
        topology.update([Report(dock, UpdateTopo(domain="3", type=3, sub_type=0, sub_devices=subs))], now=self.tick())
        for sn in aircraft:
            assert is_paired(dock, sn)
        for sn in AIRCRAFT:
            alone = Pairing.objects.filter(aircraft__sn=sn, until=None).count() == 1
            if not aircraft and shown_before[sn] == dock and alone:
                assert shown_in(sn) == dock  # switched off, and still its own
                assert not DeviceState.objects.filter(device__sn=sn, online=True).exists()

    @rule(dock=docks, sn=one, online=flags, paired=flags, with_key=st.booleans())
    def properties_of_a_dock(self, dock, sn, online, paired, with_key):
        told = {"device_sn": sn, "device_model_key": M4D if with_key else None}
        told |= {"device_online_status": online, "device_paired": paired}
        self.send(dock, sub_device={key: value for key, value in told.items() if value is not None})
        if paired is False and not online:
            assert not is_paired(dock, sn)
        else:
            assert is_paired(dock, sn)

    @rule(sn=one, dock=docks, best=st.booleans())
    def properties_of_an_aircraft(self, sn, dock, best):
        self.send(sn, gateway=dock, **({"best_link_gateway": dock} if best else {}))
        if best and Device.objects.filter(sn=dock).exists() and fits(dock, sn):
            assert shown_in(sn) == dock

    @rule(sn=st.sampled_from(DOCKS + AIRCRAFT))
    def anything(self, sn):
        device_state.store([Frame(sn, self.tick())])  # a device that nobody knew is one now, of unknown kind
        before = everything()
        self.send(sn, mode_code=0)
        assert everything() == before

    def send(self, sn, gateway="", **data):
        at = self.tick()
        device_state.store([Frame(sn, at, data=data, data_since=at, gateway=gateway or sn)], now=at)

    # --- what people do ---

    @precondition(lambda self: Device.objects.exclude(organization=None).exists())
    @rule(sn=st.sampled_from(DOCKS + AIRCRAFT), with_aircraft=st.booleans())
    def release(self, sn, with_aircraft):
        device = Device.objects.filter(sn=sn).exclude(organization=None).first()
        if device is None:
            return
        taken = [device, *(Device.objects.carried_by(device) if with_aircraft else ())]
        released = binding.release(taken, actor=Actor(AuditEvent.Through.COMMAND), now=self.tick())
        assert {row.sn for row in released} == {row.sn for row in taken}
        for row in released:
            left = Device.objects.get(pk=row.pk)
            assert (left.organization, left.gateway, left.callsign, left.state.properties) == (None, None, "", {})
            assert not Pairing.objects.filter(until=None, dock=left).exists()
            assert not Pairing.objects.filter(until=None, aircraft=left).exists()

    # --- what must hold ---

    @invariant()
    def a_dock_belongs_to_no_dock(self):
        assert not Device.objects.filter(sn__in=DOCKS).exclude(gateway=None).exists()

    @invariant()
    def an_aircraft_is_shown_where_it_is_paired_and_nowhere_if_it_is_not(self):
        for sn in AIRCRAFT:
            known = set(Pairing.objects.filter(aircraft__sn=sn, until=None).values_list("dock__sn", flat=True))
            fitting = {dock for dock in known if fits(dock, sn)}
            assert (shown_in(sn) in fitting) if fitting else shown_in(sn) is None

    @invariant()
    def an_aircraft_belongs_to_the_owner_of_its_dock_unless_it_is_said_why_not(self):
        for row in Pairing.objects.filter(until=None).select_related("dock", "aircraft"):
            same = row.dock.organization_id == row.aircraft.organization_id
            is_shown = row.aircraft.gateway_id == row.dock_id
            if is_shown and row.dock.organization_id is not None:
                assert same or row.remark, row
            if same:
                assert not row.remark

    @invariant()
    def what_ended_says_when_and_by_whom(self):
        for row in Pairing.objects.exclude(until=None):
            assert row.ended_by
            assert row.since <= row.until
            assert row.linked_since is None

    @invariant()
    def no_organization_has_more_than_it_may(self):
        assert Device.objects.filter(organization__organization_id="22222222").count() <= 3


def everything():
    devices = Device.objects.order_by("sn").values_list("sn", "organization", "gateway", "model_key", "bound_at")
    return list(devices), list(Pairing.objects.order_by("pk").values())


def owner(sn):
    return Device.objects.values_list("organization__organization_id", flat=True).filter(sn=sn).first()


def shown_in(sn):
    return Device.objects.values_list("gateway__sn", flat=True).filter(sn=sn).first()


def is_paired(dock, sn):
    return Pairing.objects.filter(dock__sn=dock, aircraft__sn=sn, until=None).exists()


def fits(dock, sn):
    return owner(sn) in (None, owner(dock))


def test_any_order_of_what_docks_send_and_people_do(db):
    run_state_machine_as_test(
        Field,
        settings=settings(
            max_examples=100 if "PAIRING_FULL" in os.environ else 6,
            stateful_step_count=20,
            deadline=None,
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
