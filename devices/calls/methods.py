"""The services that a dock can be asked for. One row of METHODS holds all that a service is.

Fields and answers are those of DJI's pages on remote unlocking (flysafe) and on the DJI account. The data of
a call equals the `data` of its message, except for secrets, which are kept apart, and files, which are named by the key
of our row.
docs/adding-a-service.md adds a service step by step.
"""

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from django.conf import settings
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from msgspec import Meta

from devices.calls.method import Button, Data, Method
from mqtt_bridge.protocol.messages import (
    AccountEvent,
    AccountReply,
    LicenseListReply,
    LicenseSwitchReply,
    LicenseUpdateReply,
)
from mqtt_bridge.protocol.redaction import Confidential

# --- what each is given ----------------------------------------------------------------------------

_LicenseId = Annotated[
    int,
    Meta(
        ge=-(2**63),
        le=2**63 - 1,
        extra={"label": _("License ID"), "wrong": _("A license ID is a whole number, as in the list of licenses.")},
    ),
]
_File = Annotated[
    int,
    Meta(
        ge=1,
        le=2**63 - 1,
        extra={
            "label": _("License file"),
            "rows": "licenses.LicenseFile",  # of the docks' organization
            "wrong": _("Choose a file of the organization of these docks."),
        },
    ),
]


class ListInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which inventory: 0 what is imported in the aircraft, 3 what FlySafe approved for the dock."""

    device_model_domain: Literal[0, 3]


class SwitchInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One license, and whether it shall be in force."""

    license_id: _LicenseId
    enable: Annotated[bool, Meta(extra={"label": _("Switch it")})]


class UpdateInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """From which of our files (its primary key); none means the newest from FlySafe."""

    license_file: _File | None = None


class LoginInput(Confidential, frozen=True, forbid_unknown_fields=True):
    """A DJI account; the code is what DJI sent the person after a first attempt."""

    username: Annotated[str, Meta(min_length=1, max_length=128, extra={"label": _("DJI user name")})]
    password: Annotated[str, Meta(min_length=1, max_length=256, extra={"label": _("Password"), "widget": "password"})]
    verification_code: Annotated[
        str,
        Meta(
            max_length=64,
            extra={
                "label": _("Verification code"),
                "help": _("Only after DJI has asked for one."),
                "widget": "unechoed",
            },
        ),
    ] = ""


class NoInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No data."""


# --- what is kept of the answers -------------------------------------------------------------------


def _list_output(reply: LicenseListReply) -> dict[str, object]:
    """The list itself becomes rows of its own; a reply without one says nothing about what is there."""
    complete = reply.licenses is not None and not reply.dropped
    output: dict[str, object] = {"consistence": reply.consistence, "complete": complete}
    if reply.device_model_domain is not None:
        output["device_model_domain"] = reply.device_model_domain
    if reply.licenses is not None:
        output["licenses"] = len(reply.licenses)
    return output


def _account_output(answer: AccountReply | AccountEvent) -> dict[str, object]:
    if isinstance(answer, AccountReply):
        return {}
    link = answer.verification_code_url if is_safe_link(answer.verification_code_url) else ""
    output = {"verification_code_url": link, "sub_device_sn": answer.sub_device_sn}
    return {name: value for name, value in output.items() if value}


def is_safe_link(url: str) -> bool:
    """Whether people may be asked to click on it: https, a host, and nothing that makes it look like another's."""
    if not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>'):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc


def is_djis_link(url: str) -> bool:
    """Whether it leads to a host of DJI's (DJI_HOSTS): a dock can name any, and people enter their password there."""
    if not is_safe_link(url):
        return False
    host = (urlsplit(url).hostname or "").rstrip(".")
    return any(host == known or host.endswith(f".{known}") for known in settings.DJI_HOSTS)


# --- what people read about a call ----------------------------------------------------------------


def _list_title(data: Data) -> str:
    match data.get("device_model_domain"):
        case 0:
            return gettext("Read licenses in the aircraft")
        case 3:
            return gettext("Read licenses at the dock")
    return gettext("Read licenses")


def _list_done(output: Data) -> str:
    count = output.get("licenses")
    if not isinstance(count, int):
        return gettext("Done, but the dock sent no list.")
    return ngettext("Done: {count} license.", "Done: {count} licenses.", count).format(count=count)


def _update_title(data: Data) -> str:
    return gettext("Update licenses from a file") if data.get("license_file") else gettext("Update licenses (newest)")


def _switch_title(data: Data) -> str:
    if "enable" not in data:
        return gettext("Switch a license")
    if "license_id" not in data:  # many, in a batch
        return gettext("Switch licenses on") if data["enable"] else gettext("Switch licenses off")
    text = gettext("Switch license {number} on") if data["enable"] else gettext("Switch license {number} off")
    return text.format(number=data["license_id"])


# --- the table -------------------------------------------------------------------------------------

LIST: Final = "unlock_license_list"
SWITCH: Final = "unlock_license_switch"
UPDATE: Final = "unlock_license_update"
LOGIN: Final = "login_dji_account"
LOGOUT: Final = "logout_dji_account"
ACCOUNT: Final = "account"  # the subject that login and logout share

METHODS: Final[dict[str, Method]] = {
    method.name: method
    for method in (
        Method(
            name=LIST,
            label=_("Read licenses"),
            input=ListInput,
            reply=LicenseListReply,
            panel=_("Unlock licenses"),
            buttons=(
                Button(
                    "read-aircraft",
                    _("Read licenses in the aircraft"),
                    given={"device_model_domain": 0},
                    help=_("What is imported in the aircraft and so in force."),
                    action=_("Read licenses (aircraft)"),
                ),
                Button(
                    "read-dock",
                    _("Read licenses at the dock"),
                    given={"device_model_domain": 3},
                    help=_("What FlySafe approved for this dock."),
                    action=_("Read licenses (dock)"),
                ),
            ),
            subject=lambda data: f"{LIST}:{data['device_model_domain']}",
            title=_list_title,
            output=_list_output,
            done=_list_done,
            silence=60,
            outcome="licenses.catalog.listed",
            example={"device_model_domain": 0},
        ),
        Method(
            name=UPDATE,
            label=_("Update licenses"),
            input=UpdateInput,
            reply=LicenseUpdateReply,
            panel=_("Unlock licenses"),
            buttons=(
                Button(
                    "update",
                    _("Update licenses (newest)"),
                    help=_("The dock fetches the newest licenses from FlySafe and imports them in the aircraft."),
                    action=_("Update licenses (newest)"),
                ),
                Button(
                    "update-file",
                    _("Update licenses from a file"),
                    fields=("license_file",),
                    submit=_("Update"),
                    action=_("Update licenses from a file…"),
                ),
            ),
            subject=lambda _data: UPDATE,
            title=_update_title,
            silence=120,
            outcome="licenses.catalog.updated",
            payload="licenses.files.payload",
        ),
        Method(
            name=SWITCH,
            label=_("Switch a license"),
            input=SwitchInput,
            reply=LicenseSwitchReply,
            panel=_("Unlock licenses"),
            buttons=(
                Button(
                    "switch",
                    _("Switch a license"),
                    fields=("license_id", "enable"),
                    submit=_("Switch"),
                    action=_("Switch licenses by name…"),
                    page="admin:licenses_unlocklicense_switch_by",
                ),
            ),
            subject=lambda data: f"{SWITCH}:{data['license_id']}",
            title=_switch_title,
            output=lambda reply: {} if reply.license_id is None else {"license_id": reply.license_id},
            outcome="licenses.catalog.switched",
            example={"license_id": 240330, "enable": True},
        ),
        Method(
            name=LOGIN,
            label=_("Log in to DJI"),
            input=LoginInput,
            reply=AccountReply,
            event=AccountEvent,
            panel=_("DJI account"),
            buttons=(
                Button(
                    "login",
                    _("Log in to DJI"),
                    fields=("username", "password", "verification_code"),
                    submit=_("Log in"),
                    action=_("Log in to DJI…"),
                ),
            ),
            subject=lambda _data: ACCOUNT,
            output=_account_output,
            secrets=("password", "verification_code"),
            qos=0,  # a broker stores what it queues, and QoS 0 it never queues
            silence=180,
            outcome="devices.accounts.login_ended",
            example={"username": "username", "password": "password", "verification_code": ""},
        ),
        Method(
            name=LOGOUT,
            label=_("Log out of DJI"),
            input=NoInput,
            reply=AccountReply,
            event=AccountEvent,
            panel=_("DJI account"),
            buttons=(Button("logout", _("Log out of DJI"), help=_("Ends a login that is under way, too.")),),
            subject=lambda _data: ACCOUNT,
            output=_account_output,
            silence=180,
            supersedes=(LOGIN,),
            outcome="devices.accounts.logout_ended",
        ),
    )
}

# Every button with its service, by the button's name.
BUTTONS: Final[dict[str, tuple[Method, Button]]] = {
    button.name: (method, button) for method in METHODS.values() for button in method.buttons
}


def label(method: str) -> str:
    """A service in words, in the active language; the bare name of an unknown one."""
    return str(METHODS[method].label) if method in METHODS else method


def title(method: str, data: Data) -> str:
    """What a dock was asked, with the one thing that tells it from the next: "Switch license 240330 on"."""
    service = METHODS.get(method)
    return service.title(data) if service and service.title else label(method)
