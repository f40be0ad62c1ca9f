"""What docks ask and report: the handlers named in `cloudapi/mqtt_routes.py`.

A handler takes the messages of one method and returns their replies, in the same order. All of them came through
enrolment, or none did: `by_enrolment` of the first is that of all.
A `Reply` is the answer's data and, for the journal, why it refuses ("" if it does not) and the primary key of the
organization it concerns, where the gateway belongs to none.
"""

from collections.abc import Iterable, Sequence

from django.utils import timezone
from msgspec.structs import replace

from devices import binding, questions, topology
from devices.calls import hearing
from devices.calls.states import Source
from mqtt_bridge.protocol.messages import (
    BindOutput,
    BindReply,
    BindRequest,
    BindStatusOutput,
    BindStatusReply,
    BindStatusRequest,
    ConfigRequest,
    ErrInfo,
    EventAck,
    OrganizationGetOutput,
    OrganizationGetReply,
    OrganizationGetRequest,
    ResultReply,
    TopoReply,
    UpdateTopo,
)
from mqtt_bridge.protocol.result_codes import Code
from mqtt_bridge.router import Message, Reply, failed
from organizations.credentials import GUESSED, LOCKED_OUT, WRONG, Credentials

GUESS_COST = 20  # tokens: a wrong code is looked up, counted and kept
PAIRING_COST = 50  # tokens: one a second in the long run, for the row is kept for good


def config(messages: Sequence[Message[ConfigRequest]]) -> list[Reply]:
    """`config`: the DJI license and the time server."""
    answers = questions.configurations([message.sn for message in messages], by_enrolment=messages[0].by_enrolment)
    return [Reply(answer.reply or failed(Code.ILLEGAL_ARGUMENT), answer.reason) for answer in answers]


def airport_bind_status(messages: Sequence[Message[BindStatusRequest]]) -> list[Reply]:
    """`airport_bind_status`: which of these devices are bound, and where."""
    answers = questions.bind_status(
        [(message.sn, [device.sn for device in message.data.devices]) for message in messages],
        by_enrolment=messages[0].by_enrolment,
    )
    return [Reply(BindStatusReply(Code.OK, BindStatusOutput(entries))) for entries in answers]


def airport_organization_get(messages: Sequence[Message[OrganizationGetRequest]]) -> list[Reply]:
    """`airport_organization_get`: the name of the organization that an id and a code open."""
    attempts = [
        Credentials(message.sn, message.data.organization_id, message.data.device_binding_code, message.by_enrolment)
        for message in messages
    ]
    replies = []
    for organization, reason, concerned in questions.find_organizations(attempts, now=timezone.now()):
        answer: OrganizationGetReply | ResultReply = failed(Code.ORGANIZATION_GET_FAILED)
        if organization is not None:
            answer = OrganizationGetReply(Code.OK, OrganizationGetOutput(organization.name))
        replies.append(Reply(answer, reason, concerned, _cost([reason])))
    return replies


def airport_organization_bind(messages: Sequence[Message[BindRequest]]) -> list[Reply]:
    """`airport_organization_bind`: bind a dock and its aircraft; success is per device."""
    requests = []
    for message in messages:
        own = message.sn.casefold()  # an entry that differs from it in case only is the dock's own
        requests.append(
            binding.Request(
                message.sn,
                [
                    replace(device, sn=message.sn)
                    if device.sn != message.sn and device.sn.casefold() == own
                    else device
                    for device in message.data.bind_devices
                ],
                message.by_enrolment,
            )
        )
    replies = []
    for message, results in zip(messages, binding.bind(requests, now=timezone.now()), strict=True):
        outcomes = list(zip((device.sn for device in message.data.bind_devices), results, strict=True))
        errors = [ErrInfo(sn, result.err_code) for sn, result in outcomes]
        reasons = [f"{sn or '?'}: {result.reason}" for sn, result in outcomes if result.reason]
        first, cost = results[0], _cost(result.reason for result in results)
        cost += PAIRING_COST * first.begun
        reply, concerned = BindReply(Code.OK, BindOutput(errors)), first.owner or first.organization_id
        replies.append(Reply(reply, "; ".join(reasons), concerned, cost, is_owner=first.owner is not None))
    return replies


def _cost(reasons: Iterable[str]) -> int:
    """What the wrong codes among these cost."""
    return GUESS_COST * sum(reason in (WRONG, LOCKED_OUT, GUESSED) for reason in reasons)


def update_topo(messages: Sequence[Message[UpdateTopo]]) -> list[Reply]:
    """`update_topo`: what a gateway is, and which aircraft it is linked with now."""
    reports = [topology.Report(message.sn, message.data) for message in messages]
    outcomes = topology.update(reports, now=timezone.now())
    return [Reply(TopoReply(), remark, cost=PAIRING_COST * begun) for remark, begun in outcomes]


def services_reply(messages: Sequence[Message[object]]) -> list[Reply]:
    """The answer to a service call, of any method: the call that its `tid` names knows what was asked."""
    return _hear(Source.REPLY, messages)


def service_progress(messages: Sequence[Message[object]]) -> list[Reply]:
    """An event of a service that reports progress: how far it is, and how it ended."""
    return _hear(Source.EVENT, messages)


def _hear(source: Source, messages: Sequence[Message[object]]) -> list[Reply]:
    reports = [hearing.Report(message.sn, source, message.tid, message.bid, message.data) for message in messages]
    reasons = hearing.hear_docks(reports, now=timezone.now())
    return [Reply(EventAck(), reason) for reason in reasons]
