"""The DJI account that a dock is logged in to, as far as logins and logouts show.

DJI's page "DJI account" has the messages. A login that fails with a link needs a verification code: the attempt is
over, the person gets the code at the link, and the next attempt carries it.
"""

from collections.abc import Iterable

from django.db.models import Q

from devices.calls import methods
from devices.calls.transition import End
from devices.live import broadcast
from devices.models import Device, DeviceAccount, ServiceCall

Account = DeviceAccount.Status
_KEPT = ("username", "status", "verification_code_url")


def begin(calls: Iterable[ServiceCall]) -> None:
    """Show that logins were requested; must run in the transaction that makes the calls. Two statements."""
    logins = {call.device_id: call for call in calls if call.method == methods.LOGIN}
    if not logins:
        return
    known = {row.device_id: row for row in DeviceAccount.objects.filter(device__in=logins).select_for_update()}
    accounts = []
    for device_id, call in logins.items():
        account = known.get(device_id) or DeviceAccount(device_id=device_id)
        account.before = {name: getattr(account, name) for name in _KEPT}
        account.username, account.status = call.data["username"], Account.LOGGING_IN
        account.verification_code_url = ""
        accounts.append(account)
    DeviceAccount.objects.bulk_create(
        accounts, update_conflicts=True, unique_fields=["device"], update_fields=[*_KEPT, "before", "updated"]
    )
    for call in logins.values():
        broadcast.tell_account(call.device)


def unverified_attempt(device: Device) -> ServiceCall | None:
    """The login of this dock's present owner that ended with a link and waits for its code; None if there is none."""
    account = DeviceAccount.objects.filter(device=device, status=Account.VERIFICATION_REQUIRED).first()
    if account is None:
        return None
    attempts = ServiceCall.objects.filter(
        device=device, organization=device.organization_id, method=methods.LOGIN, data__username=account.username
    )
    return attempts.order_by("-created").first()


def login_ended(ends: Iterable[End]) -> None:
    """Update the accounts of docks after logins."""
    for call, data in ends:
        account = _concerned(call)
        if account is None:
            continue
        link = call.output.get("verification_code_url", "")
        account.username = call.data["username"]
        account.verification_code_url = ""
        if call.status == ServiceCall.Status.SUCCEEDED:
            account.status = Account.LOGGED_IN
        elif call.sent is None:
            for name, value in account.before.items():
                setattr(account, name, value)
        elif link and call.status in (ServiceCall.Status.FAILED, ServiceCall.Status.REJECTED):
            account.status, account.verification_code_url = Account.VERIFICATION_REQUIRED, link
        else:
            account.status = Account.UNKNOWN if data is None else Account.FAILED
        _save(account, call)


def logout_ended(ends: Iterable[End]) -> None:
    """Update the accounts of docks after logouts; one that failed changes nothing."""
    for call, _ in ends:
        account = _concerned(call)
        if account is not None and call.status == ServiceCall.Status.SUCCEEDED:
            account.username, account.status, account.verification_code_url = "", Account.LOGGED_OUT, ""
            _save(account, call)


def _concerned(call: ServiceCall) -> DeviceAccount | None:
    """The account that this call is about, locked; None if the dock changed hands or a later attempt counts instead.

    A login makes the row when it is requested, so if there is none a release has deleted it.
    """
    if call.device.organization_id != call.organization_id:
        return None
    later = ServiceCall.objects.filter(device=call.device, subject=methods.ACCOUNT, created__gt=call.created)
    if later.filter(Q(sent__isnull=False) | Q(status=ServiceCall.Status.QUEUED)).exists():
        return None
    return DeviceAccount.objects.select_for_update().filter(device=call.device).first()


def _save(account: DeviceAccount, call: ServiceCall) -> None:
    account.before = {}
    account.save()
    broadcast.tell_account(call.device)
