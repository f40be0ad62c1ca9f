"""Which handler answers which message of a dock. Read it like a urlconf.

A `Route` names the handler, the type of the message's `data`, what to answer when the message is malformed or
the handler fails, whether the handler writes (then it runs in a transaction), whether it takes several messages of one
device in a row, and whether it is answered through enrolment. A method without a line here gets the fallback of its
channel in `mqtt_bridge/router.py`: an unknown request is refused at once, an event that wants a reply gets one, the
rest is journalled.

Below it, for service calls: what their end means beyond themselves, and what builds their messages, as the rows of
`devices/calls/methods.py` name them.
"""

from collections.abc import Callable, Iterable, Sequence

from django.utils.module_loading import import_string
from msgspec import Struct

from devices import mqtt as devices
from devices.calls.methods import METHODS
from devices.calls.transition import End, FollowUp
from devices.models import ServiceCall
from mqtt_bridge.protocol.messages import (
    BindRequest,
    BindStatusRequest,
    ConfigRequest,
    OrganizationGetRequest,
    UpdateTopo,
)
from mqtt_bridge.protocol.result_codes import Code
from mqtt_bridge.protocol.topics import Channel
from mqtt_bridge.router import ANY, Route, Routes, accepted, failed

ROUTES: Routes = {
    # the onboarding, in its order
    (Channel.REQUESTS, "config"): Route(
        devices.config,
        ConfigRequest,
        failure=failed(Code.ILLEGAL_ARGUMENT),
        writes=False,
        runs=True,
        enrols=True,
    ),
    (Channel.REQUESTS, "airport_bind_status"): Route(
        devices.airport_bind_status,
        BindStatusRequest,
        failure=failed(Code.BIND_STATUS_FAILED, bind_status=[]),
        writes=False,
        runs=True,
        enrols=True,
    ),
    (Channel.REQUESTS, "airport_organization_get"): Route(
        devices.airport_organization_get,
        OrganizationGetRequest,
        failure=failed(Code.ORGANIZATION_GET_FAILED),
        atomic=False,
        runs=True,
        enrols=True,
    ),
    (Channel.REQUESTS, "airport_organization_bind"): Route(
        devices.airport_organization_bind,
        BindRequest,
        failure=failed(Code.BIND_FAILED, err_infos=[]),
        atomic=False,
        runs=True,
        enrols=True,
    ),
    (Channel.STATUS, "update_topo"): Route(
        devices.update_topo,
        UpdateTopo,
        failure=failed(Code.ILLEGAL_ARGUMENT),
        atomic=False,
        runs=True,
    ),
    # asked before each take-off; DJI's FAQ wants nothing but a result
    (Channel.REQUESTS, "flight_areas_get"): Route(accepted, writes=False, runs=True),
    (Channel.REQUESTS, "offline_map_get"): Route(accepted, writes=False, runs=True),
    # answers to service calls; the method may be missing, and the call knows it
    (Channel.SERVICES_REPLY, ANY): Route(devices.services_reply, runs=True),
    **{
        (Channel.EVENTS, method.name): Route(devices.service_progress, runs=True)
        for method in METHODS.values()
        if method.event
    },
}

# ends of calls -> what to ask the docks next, if anything; in the transaction that closes the calls, or corrects them
OUTCOMES: dict[str, Callable[[Sequence[End]], Iterable[FollowUp] | None]] = {
    method.name: import_string(method.outcome) for method in METHODS.values() if method.outcome
}

# call -> `data` of its message, where that is not what the call has stored
PAYLOADS: dict[str, Callable[[ServiceCall], Struct]] = {
    method.name: import_string(method.payload) for method in METHODS.values() if method.payload
}

# What a simulated dock answers to a service that it has no code for: the steps it reports, None without events.
SIMULATED: dict[str, tuple[str, ...] | None] = {
    method.name: method.steps if method.event else None for method in METHODS.values()
}
