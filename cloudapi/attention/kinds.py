"""Each kind of problem with its words, its query and its link."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from django.conf import settings
from django.db.models import Min, Model, Q, QuerySet
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from cloudapi.attention import rows
from cloudapi.attention.rows import Visit
from devices.broker import connections
from devices.diagnosis.exchanges import refusing
from devices.diagnosis.needs import BINDING, LICENSE, has_wrong_clock, in_trouble, schedule_in_trouble, unsent
from devices.models import DeviceAccount, ServiceCall
from devices.presence import Presence
from licenses.models import LicenseList
from mqtt_bridge import access_list
from mqtt_bridge.models import Certificate, Exchange
from organizations import codes
from organizations.models import BindingFailure

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as LazyText

WRONG_CODES_PER_HOUR: Final = 20  # more than this, from all gateways together, looks like guessing
NEARLY: Final = 0.9  # of UNCLAIMED_DEVICE_CAP
VERIFICATION_REQUIRED: Final = DeviceAccount.Status.VERIFICATION_REQUIRED.value

DEVICES: Final = "admin:devices_device_changelist"
INBOX: Final = "admin:devices_device_inbox"
CONNECTIONS: Final = "admin:devices_dockconnection_changelist"
CALLS: Final = "admin:devices_servicecall_changelist"
EXCHANGES: Final = "admin:mqtt_bridge_exchange_changelist"
LICENSES: Final = "admin:licenses_unlocklicense_changelist"
CODES: Final = "admin:organizations_bindingcode_changelist"
FAILURES: Final = "admin:organizations_bindingfailure_changelist"
ORGANIZATIONS: Final = "admin:organizations_organization_changelist"
SYSTEM: Final = "admin:system"
DOCKS_FILTER: Final = "kind=dock&claimed=yes&is_enabled__exact=1"  # in the list of devices, what `docks` finds


class Level(IntEnum):
    """How urgent: work has stopped; something is wrong; good to know."""

    CRITICAL = 3
    WARNING = 2
    NOTICE = 1


class Kind(NamedTuple):
    """A kind of problem. It is shown if any row has it, unless it is not counted, and if `also_if` says so."""

    level: Level
    text: "LazyText"  # with {count}, if it is counted
    detail: "LazyText | Callable[[Visit, int], str]"
    rows: Callable[[Visit], QuerySet[Model, object]] | None  # for this user; kinds with one function share a query
    where: Callable[[Visit], Q] | None  # which of the rows have the problem; None: all
    view: str = ""  # the list that shows them: the name of its URL
    query: str = ""  # and its filter
    for_staff: bool = False
    also_if: Callable[[Mapping[str, int]], bool] | None = None  # what else must hold of the counts of all kinds
    is_counted: bool = True
    is_of_devices: bool = False  # of those of organizations: each is acknowledged by itself
    counted: str = "pk"  # the field of the rows that is counted, each value once

    def words(self, count: int) -> str:
        """The problem in words, of so many rows."""
        return self.text.format(count=count) if self.is_counted else str(self.text)


# --- words and conditions that are no constants --------------------------------------------------


def _longest_offline(visit: Visit, _count: int) -> str:
    known = rows.is_acknowledged("offline", visit)
    offline = rows.docks(visit).filter(~known, visit.watch.matching(Presence.OFFLINE))
    since = offline.aggregate(since=Min("state__last_seen"))["since"]
    return gettext("the longest for {time}").format(time=timesince(since or visit.now, visit.now))


def _room(_visit: Visit, strangers: int) -> str:
    cap = settings.UNCLAIMED_DEVICE_CAP
    text = gettext(
        "{count:,} of {cap:,} (UNCLAIMED_DEVICE_CAP): delete some, or new docks appear only once they are bound"
    )
    return text.format(count=strangers, cap=cap)


def _has_license() -> bool:
    return all((settings.DJI_APP_ID, settings.DJI_APP_KEY, settings.DJI_APP_LICENSE))


# --- the kinds of problems -----------------------------------------------------------------------
# Level and words, detail, query, link; those of one level are shown in this order.

KINDS: Final = {
    "locked_out": Kind(
        Level.CRITICAL, ngettext_lazy(
            "{count:,} gateway is locked out after wrong codes",
            "{count:,} gateways are locked out after wrong codes", "count"),
        _("a technician may be waiting beside it"),
        lambda visit: BindingFailure.objects.locked_out(visit.now), None,
        FAILURES, "locked=yes", for_staff=True),
    "many_wrong_codes": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} wrong code in the last hour",
            "{count:,} wrong codes in the last hour", "count"),
        _("from all gateways together: someone may be guessing"),
        rows.wrong_codes, None,
        FAILURES, for_staff=True, also_if=lambda counts: counts["many_wrong_codes"] > WRONG_CODES_PER_HOUR),
    "wrong_codes": Kind(
        Level.NOTICE, ngettext_lazy(
            "{count:,} wrong code in the last hour",
            "{count:,} wrong codes in the last hour", "count"),
        _("from all gateways together"),
        rows.wrong_codes, None,
        FAILURES, for_staff=True, also_if=lambda counts: counts["wrong_codes"] <= WRONG_CODES_PER_HOUR),
    "unclaimed": Kind(
        Level.NOTICE, ngettext_lazy(
            "{count:,} device belongs to nobody",
            "{count:,} devices belong to nobody", "count"),
        _("not bound yet, or released"),
        rows.strangers, lambda _: Q(organization=None, is_enabled=True, ignored_at=None),
        INBOX, for_staff=True),
    "transferred": Kind(
        Level.NOTICE, ngettext_lazy(
            "{count:,} device was moved to or from your organization",
            "{count:,} devices were moved to or from your organization", "count"),
        _("by the platform's staff, in the last 7 days"),
        rows.transfers, None, counted="object_id"),
    "no_room": Kind(
        Level.WARNING, _("No room for more unknown devices"), _room,
        rows.strangers, None,
        DEVICES, "claimed=no", for_staff=True, is_counted=False,
        also_if=lambda counts: counts["no_room"] >= settings.UNCLAIMED_DEVICE_CAP),
    "little_room": Kind(
        Level.WARNING, _("Little room for more unknown devices"), _room,
        rows.strangers, None,
        DEVICES, "claimed=no", for_staff=True, is_counted=False,
        also_if=lambda counts: NEARLY <= counts["little_room"] / (settings.UNCLAIMED_DEVICE_CAP or 1) < 1),
    "certificate_ends": Kind(
        Level.CRITICAL,
        ngettext_lazy(
            "{count:,} certificate expires within 3 days or has expired",
            "{count:,} certificates expire within 3 days or have expired", "count"),
        _("then docks, browsers or this server itself refuse the connection: renew it"),
        rows.certificates, lambda visit: Q(expires_at__lte=visit.now + Certificate.ENDS),
        SYSTEM, for_staff=True),
    "certificate_refused": Kind(
        Level.CRITICAL, ngettext_lazy(
            "{count:,} certificate is refused",
            "{count:,} certificates are refused", "count"),
        _("it is for another host, or signed by an unknown authority"),
        rows.certificates, lambda visit: ~Q(refused_why="") & Q(expires_at__gt=visit.now + Certificate.ENDS),
        SYSTEM, for_staff=True),
    "certificate_ends_soon": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} certificate expires within 21 days",
            "{count:,} certificates expire within 21 days", "count"),
        _("renew it, and see why it was not renewed by itself"),
        rows.certificates, lambda visit: Q(
            expires_at__gt=visit.now + Certificate.ENDS, expires_at__lte=visit.now + Certificate.ENDS_SOON),
        SYSTEM, for_staff=True),
    "no_address": Kind(
        Level.WARNING, _("Onboarding sheets lack the MQTT gateway address"),
        lambda *_: gettext("set {names}").format(names="DOCK_MQTT_URL" + (
            "" if access_list.is_kept() else ", DOCK_MQTT_USERNAME, DOCK_MQTT_PASSWORD")),
        None, None, for_staff=True, is_counted=False, also_if=lambda _: not settings.DOCK_MQTT_URL),
    "no_license": Kind(
        Level.CRITICAL, _("The server has no DJI license"),
        _("every dock is refused when it connects: set DJI_APP_ID, DJI_APP_KEY and DJI_APP_LICENSE"),
        rows.organizations, None,
        for_staff=True, is_counted=False, also_if=lambda counts: not _has_license() and counts["no_license"] == 0),
    "organization_without_license": Kind(
        Level.CRITICAL, ngettext_lazy(
            "{count:,} organization has no DJI license",
            "{count:,} organizations have no DJI license", "count"),
        _("their docks are refused when they connect, and the server has no license for all"),
        rows.organizations, lambda _: Q(Q(app_id="") | Q(app_key="") | Q(app_license=""), is_active=True),
        ORGANIZATIONS, "license=missing&is_active__exact=1", also_if=lambda _: not _has_license()),
    "offline": Kind(
        Level.CRITICAL, ngettext_lazy(
            "{count:,} dock is offline",
            "{count:,} docks are offline", "count"), _longest_offline,
        rows.docks, lambda visit: visit.watch.matching(Presence.OFFLINE),
        DEVICES, f"{DOCKS_FILTER}&presence=offline", is_of_devices=True),
    "enrolment": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} dock still uses an enrolment account",
            "{count:,} docks still use an enrolment account", "count"),
        _("it reports nothing and takes no commands until it has an account of its own"),
        rows.between_accounts, lambda visit: connections.matching(connections.Way.ENROLMENT, visit.now),
        CONNECTIONS, "way=enrolment", also_if=lambda _: access_list.is_kept(), is_of_devices=True),
    "secret_ends": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} dock uses a secret that ends within 3 days",
            "{count:,} docks use a secret that ends within 3 days", "count"),
        _("type the new one into DJI Pilot 2 beside the dock before then"),
        rows.between_accounts, lambda visit: connections.matching(connections.Remark.EXPIRING, visit.now),
        CONNECTIONS, "way=expiring", also_if=lambda _: access_list.is_kept(), is_of_devices=True),
    "wrong_clock": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} device has a wrong clock",
            "{count:,} devices have a wrong clock", "count"),
        _("more than 5 minutes off, or never set: such docks refuse commands (319008)"),
        rows.bound, lambda _: has_wrong_clock(),
        DEVICES, "clock=wrong&claimed=yes&is_enabled__exact=1", is_of_devices=True),
    "unsent": Kind(
        Level.CRITICAL, ngettext_lazy(
            "{count:,} command waits to be sent",
            "{count:,} commands wait to be sent", "count"),
        lambda visit, _: (
            gettext("Is a Celery worker running?") if visit.is_staff else gettext("ask the platform's staff")),
        lambda visit: unsent(ServiceCall.objects.visible_to(visit.user), visit.now), None,
        CALLS, "state=unsent&by=all"),
    "trouble": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} command did not succeed",
            "{count:,} commands did not succeed", "count"),
        _("failed, unanswered or not sent in the last 24 hours, and not tried again"),
        lambda visit: ServiceCall.objects.visible_to(visit.user).filter(in_trouble(visit.now)), None,
        CALLS, "state=trouble"),
    "schedule_fails": Kind(
        Level.NOTICE, ngettext_lazy(
            "{count:,} scheduled read of licenses fails",
            "{count:,} scheduled reads of licenses fail", "count"),
        _("in the last 24 hours, and none of the same list succeeded since: the schedule tries again"),
        lambda visit: ServiceCall.objects.visible_to(visit.user).filter(schedule_in_trouble(visit.now)), None,
        CALLS, "state=schedule"),
    "verification": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} dock waits for a verification code",
            "{count:,} docks wait for a verification code", "count"),
        _("DJI needs it to finish the login"),
        lambda visit: rows.bound(visit).filter(account__status=VERIFICATION_REQUIRED), None,
        DEVICES, f"account={VERIFICATION_REQUIRED}&is_enabled__exact=1", is_of_devices=True),
    "license_refused": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} gateway was refused the DJI license",
            "{count:,} gateways were refused the DJI license", "count"),
        _("in the last 24 hours"),
        lambda visit: rows.refused(visit, "config", LICENSE), None,
        EXCHANGES, "method=config&outcome=refused", counted="gateway_sn"),
    "code_refused": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} gateway had its code refused",
            "{count:,} gateways had their codes refused", "count"),
        _("in the last 24 hours"),
        lambda visit: rows.refused(visit, "airport_organization_get", BINDING), None,
        EXCHANGES, "method=airport_organization_get&outcome=refused", counted="gateway_sn"),
    "spoken_for": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} dock with its own account was refused at enrolment",
            "{count:,} docks with their own accounts were refused at enrolment", "count"),
        _("in the last 24 hours: it still connects with the enrolment account, "
          "or somebody else uses its serial number"),
        rows.spoken_for, None,
        EXCHANGES, "outcome=refused", counted="gateway_sn"),
    "guessed": Kind(
        Level.CRITICAL, ngettext_lazy(
            "{count:,} organization's codes are locked out at enrolment",
            "{count:,} organizations' codes are locked out at enrolment", "count"),
        _("after too many wrong ones from all gateways together: technicians may be waiting"),
        lambda visit: BindingFailure.objects.guessed(visit.now), None,
        FAILURES, "by_enrolment__exact=1", for_staff=True),
    "failed": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} message failed in this server",
            "{count:,} messages failed in this server", "count"),
        _("in the last 24 hours"),
        rows.unusual, lambda _: Q(outcome=Exchange.Outcome.ERROR),
        EXCHANGES, "outcome=error"),
    "bind_refused": Kind(
        Level.WARNING, ngettext_lazy("{count:,} bind was refused", "{count:,} binds were refused", "count"),
        _("in the last 24 hours"),
        rows.unusual, lambda _: Q(~Q(reason=Exchange.HAS_ACCOUNT), refusing(), method="airport_organization_bind"),
        EXCHANGES, "method=airport_organization_bind&outcome=refused"),
    "quarantined": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} message was not understood",
            "{count:,} messages were not understood", "count"),
        _("quarantined in the last 24 hours"),
        rows.unusual, lambda _: Q(outcome=Exchange.Outcome.QUARANTINED),
        EXCHANGES, "outcome=quarantined"),
    "code_expires": Kind(
        Level.NOTICE, ngettext_lazy(
            "{count:,} binding code expires within 3 days",
            "{count:,} binding codes expire within 3 days", "count"),
        _("not used up yet"),
        lambda visit: rows.binding_codes(visit, codes.State.EXPIRING), None,
        CODES, "state=expiring"),
    "code_used_up": Kind(
        Level.NOTICE, ngettext_lazy(
            "{count:,} binding code is used up",
            "{count:,} binding codes are used up", "count"),
        _("no more docks can bind with them"),
        # one for a single dock has done what it is for
        lambda visit: rows.binding_codes(visit, codes.State.USED_UP), lambda _: Q(max_uses__gt=1),
        CODES, "state=used-up&max_uses__gt=1"),
    "license_expired": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} unlock license has expired but is still on",
            "{count:,} unlock licenses have expired but are still on", "count"),
        _("flights that rely on them are refused"),
        rows.ending_licenses, lambda visit: Q(end_time__lte=visit.now),
        LICENSES, "state=expired-enabled"),
    "license_ends_7": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} unlock license ends within 7 days",
            "{count:,} unlock licenses end within 7 days", "count"),
        _("apply for new ones on DJI's FlySafe site"),
        rows.ending_licenses, lambda visit: Q(end_time__gt=visit.now, end_time__lte=visit.now + timedelta(days=7)),
        LICENSES, "state=expiring-7"),
    "license_ends_30": Kind(
        Level.NOTICE, ngettext_lazy(
            "{count:,} unlock license ends within 30 days",
            "{count:,} unlock licenses end within 30 days", "count"),
        _("including those of the next 7 days"),
        rows.ending_licenses, lambda visit: Q(end_time__gt=visit.now),
        LICENSES, "state=expiring-30", also_if=lambda counts: counts["license_ends_30"] > counts["license_ends_7"]),
    "never_read": Kind(
        Level.NOTICE, ngettext_lazy(
            "{count:,} dock has never listed its unlock licenses",
            "{count:,} docks have never listed their unlock licenses", "count"),
        _("in the aircraft, in the dock, or in both"),
        rows.docks, lambda _: LicenseList.conditions_on_docks()["never"],
        DEVICES, f"{DOCKS_FILTER}&licenses=never", is_of_devices=True),
    "inconsistent": Kind(
        Level.WARNING, ngettext_lazy(
            "{count:,} dock has other licenses than its aircraft",
            "{count:,} docks have other licenses than their aircraft", "count"),
        _("as the dock itself reports: update the licenses"),
        rows.docks, lambda _: LicenseList.conditions_on_docks()["inconsistent"],
        DEVICES, f"{DOCKS_FILTER}&licenses=inconsistent", is_of_devices=True),
}  # fmt: skip
