"""The audit trail in words: what was done, to what, and which values changed. Rows keep codes, in English."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.utils.dateparse import parse_datetime
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from organizations import time_zones
from organizations.language import stored

# By action; {object} is what it was done to, with its kind. Every action that the code records is here.
ACTIONS: Final = {
    "acknowledge": gettext_lazy("acknowledged an alarm of {object}"),
    "add": gettext_lazy("added {object}"),
    "adopt": gettext_lazy("took in {object}, which a dock named as its aircraft"),
    "bind": gettext_lazy("bound {object}"),
    "cancel command": gettext_lazy("canceled a command to {object}"),
    "change": gettext_lazy("changed {object}"),
    "clear lock-out": gettext_lazy("ended the lock-out of {object}"),
    "close": gettext_lazy("closed {object}"),
    "command": gettext_lazy("sent a command to {object}"),
    "delete": gettext_lazy("deleted {object}"),
    "disable": gettext_lazy("disabled {object}"),
    "disown": gettext_lazy("took {object} from its organization, for another one proved that it has it"),
    "download": gettext_lazy("downloaded {object}"),
    "enable": gettext_lazy("enabled {object}"),
    "end": gettext_lazy("ended {object}"),
    "end acknowledgement": gettext_lazy("ended the acknowledgement of an alarm of {object}"),
    "end sessions": gettext_lazy("ended all sessions of {object}"),
    "export": gettext_lazy("exported the list: {object}"),
    "ignore": gettext_lazy("chose to ignore {object}"),
    "invite": gettext_lazy("invited {object}"),
    "issue": gettext_lazy("issued {object}"),
    "issue broker account": gettext_lazy("issued an MQTT account to {object}"),
    "join": gettext_lazy("joined: {object}"),
    "lock second factor": gettext_lazy("typed too many wrong codes: {object}"),
    "mail": gettext_lazy("mailed the link of {object}"),
    "new recovery codes": gettext_lazy("made new recovery codes: {object}"),
    "plan batch": gettext_lazy("planned a command to many docks: {object}"),
    "release": gettext_lazy("released {object}"),
    "remove second factor": gettext_lazy("removed the second factor of {object}"),
    "reopen": gettext_lazy("opened {object} again"),
    "replace broker account": gettext_lazy("replaced an MQTT account of {object}"),
    "reset password": gettext_lazy("reset the password of {object}"),
    "restore": gettext_lazy("restored {object}"),
    "retire": gettext_lazy("retired {object}"),
    "revoke": gettext_lazy("revoked {object}"),
    "revoke broker account": gettext_lazy("revoked an MQTT account of {object}"),
    "rotate broker account": gettext_lazy("rotated the MQTT account of {object}"),
    "rotate_key": gettext_lazy("encrypted the secrets with the newest key: {object}"),
    "send password reset": gettext_lazy("mailed a link to a new password to {object}"),
    "set up second factor": gettext_lazy("set up a second factor: {object}"),
    "start batch": gettext_lazy("sent a command to many docks: {object}"),
    "stop batch": gettext_lazy("stopped {object}"),
    "stop ignoring": gettext_lazy("put {object} back into the inbox"),
    "trace": gettext_lazy("recorded the messages of {object}"),
    "transfer": gettext_lazy("transferred {object}"),
    "upload": gettext_lazy("uploaded {object}"),
    "use recovery code": gettext_lazy("used a recovery code: {object}"),
}
# What no field of a model is called.
NAMES: Final = {
    "call": gettext_lazy("command"),
    "calls": gettext_lazy("commands"),
    "canceled": gettext_lazy("canceled"),
    "changed": gettext_lazy("changed"),
    "code": gettext_lazy("binding code"),
    "data": gettext_lazy("data"),
    "dock": gettext_lazy("dock"),
    "filter": gettext_lazy("filter"),
    "format": gettext_lazy("format"),
    "method": gettext_lazy("method"),
    "old_until": gettext_lazy("the old one works until"),
    "reason": gettext_lazy("reason"),
    "replaces": gettext_lazy("replaces"),
    "rows": gettext_lazy("rows"),
    "skipped": gettext_lazy("skipped"),
    "until": gettext_lazy("until"),
    "username": gettext_lazy("user name"),
    "wrong_pairs": gettext_lazy("wrong codes"),
}
# Names with words in them, as rows keep them.
_WORDED: Final = {
    "organizations.Invitation": (
        re.compile("(?P<user>.+) to (?P<organization>.+)"),
        pgettext_lazy("audit trail", "{user} to {organization}"),
    ),
    "organizations.Membership": (
        re.compile("(?P<user>.+) in (?P<organization>.+)"),
        gettext_lazy("{user} in {organization}"),
    ),
}
NOTHING: Final = "–"
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*")


class Changed(NamedTuple):
    """A value before and after, each in words; "" where there was none."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        if not self.before:
            return f"{self.name}: {self.after or NOTHING}"
        return f"{self.name}: {self.before} → {self.after or NOTHING}"


def done(action: str, object_type: str, object_name: str) -> str:
    """What was done to what: "issued binding code North pier …7KQM". What is not known here is shown as it is."""
    kind, object_name = kind_of(object_type), _name(action, object_type, object_name)
    named = f"{kind} {object_name}" if kind and kind.casefold() not in object_name.casefold() else object_name
    words = ACTIONS.get(action)
    return str(words).format(object=named) if words else f"{action}: {named}"


def _name(action: str, object_type: str, name: str) -> str:
    """The name of an object, which rows keep in English: in words of the active language, where it has words."""
    if action == "export":  # of a list, under the plural of its kind
        with suppress(LookupError, ValueError):
            return str(apps.get_model(object_type)._meta.verbose_name_plural)
    if object_type == "organizations.FileJob":  # "export devices", which the catalogues have
        return " ".join(_(word) for word in name.split(" ", 1))
    if object_type == "devices.ServiceCallBatch":  # "Read licenses in the aircraft, 2026-11-30 09:00 UTC"
        about, comma, moment = name.rpartition(", ")
        return f"{stored.shown(about)}{comma}{moment}"
    if object_type in _WORDED:
        pattern, words = _WORDED[object_type]
        if match := pattern.fullmatch(name):
            return str(words).format(**match.groupdict())
    return name


def kind_of(object_type: str) -> str:
    """The kind of an object in words: "binding code"."""
    try:
        return str(apps.get_model(object_type)._meta.verbose_name)
    except (LookupError, ValueError):
        return object_type.rpartition(".")[2]


def changes(object_type: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Changed]:
    """What changed, field by field, with names and values as pages show them."""
    try:
        model: type[models.Model] | None = apps.get_model(object_type)
    except (LookupError, ValueError):
        model = None
    found = []
    for key in dict.fromkeys((*before, *after)):
        field = None
        if model is not None:
            with suppress(FieldDoesNotExist):
                field = model._meta.get_field(key)
        label = getattr(field, "verbose_name", None) or NAMES.get(key) or key.replace("_", " ")
        was = value_of(field, before[key]) if key in before else ""
        found.append(Changed(capfirst(str(label)), was, value_of(field, after[key]) if key in after else ""))
    return found


def value_of(field: Any, value: object) -> str:
    """A value as a person reads it: no True, None or {'a': 1}."""
    match value:
        case None | "":
            return NOTHING
        case bool():
            return _("yes") if value else _("no")
        case list():
            return ", ".join(value_of(None, one) for one in value) or NOTHING
        case dict():
            return ", ".join(f"{name}: {value_of(None, one)}" for name, one in value.items()) or NOTHING
        case str() if _MOMENT.fullmatch(value) and (moment := parse_datetime(value)):
            return time_zones.written(moment if moment.tzinfo else moment.replace(tzinfo=UTC), seconds=True)
    choices = dict(getattr(field, "flatchoices", ()))
    return str(choices.get(value, value))
