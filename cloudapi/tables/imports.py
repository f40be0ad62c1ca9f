"""The tables that people import: devices before they connect, binding codes, invitations."""

import re
from datetime import datetime
from typing import Any, ClassVar, Final

from django.conf import settings
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.db.models.functions import Upper
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from tablib import Dataset

from cloudapi.tables.importing import RowsResource, column, moment
from devices import pairing, registry
from devices.models import SN_PATTERN, Device
from organizations import codes, invitations
from organizations.models import CODE_LIFETIME, BindingCode, Invitation, Membership, Organization, Role
from organizations.tenancy import is_platform_staff, restrict

MODEL_KEY: Final = re.compile(r"\d{1,5}-\d{1,5}-\d{1,5}")
NEVER: Final = "never"


class DeviceRows(RowsResource):
    """Devices that have not connected yet, and callsigns of those that have.

    Only platform staff adds devices, as in the form: a member could claim another's dock, or learn which ones exist.
    """

    name = "devices"
    role = Role.OPERATOR
    most = 20_000
    needed = ("sn",)

    sn = column("sn")
    callsign = column("callsign")
    organization_id = column("organization_id", "organization")
    model_key = column("model_key")

    class Meta:
        model = Device
        fields = ("sn", "callsign", "organization_id", "model_key")
        import_id_fields = ("sn",)
        skip_unchanged = skip_html_diff = store_instance = True

    @classmethod
    def labels(cls) -> dict[str, str]:
        return {
            "sn": _("Serial number"),
            "callsign": _("Callsign"),
            "organization_id": _("Organization ID"),
            "model_key": _("Model key"),
        }

    @classmethod
    def explained(cls, organization_id: str) -> dict[str, tuple[str, str]]:
        sn = _(
            "As printed on the device: up to 64 letters, digits, hyphens or underscores."
            " One that is here gets the callsign; one that is not is added, by platform staff only."
        )
        callsign = _("Any name, up to 128 characters. An empty cell takes the name away; without this column it stays.")
        owner = _("Whose a new device is; empty: nobody's yet. Of one that is here: empty or unchanged.")
        model_key = _(
            "Domain, type and sub-type of a new device with hyphens; empty: it reports them when it connects."
            " Of one that is here: empty or unchanged."
        )
        return {
            "sn": (sn, "4TADL330010001"),
            "callsign": (callsign, "Pier 1"),
            "organization_id": (owner, organization_id),
            "model_key": (model_key, "3-2-0"),
        }

    def before_import(self, dataset: Dataset, **kwargs: Any) -> None:
        super().before_import(dataset, **kwargs)
        sns = set(dataset["sn"])
        mine = restrict(Device.objects.filter(sn__in=sns), self.rights.principal)
        self.known = {row.sn: row for row in mine.lock_in_order()}
        self.may_add = is_platform_staff(self.rights.principal)
        self.alike: dict[str, str] = {}
        if self.may_add:
            upper = Device.objects.order_by().annotate(upper=Upper("sn")).filter(upper__in={sn.upper() for sn in sns})
            self.alike = dict(upper.values_list("upper", "sn"))
        owners = {row.organization_id for row in self.known.values()}
        named = Organization.objects.defer("app_key", "app_license").in_bulk([key for key in owners if key])
        for row in self.known.values():
            row.organization = named[row.organization_id] if row.organization_id else None

    def get_instance(self, instance_loader: object, row: dict[str, str]) -> Device | None:
        return self.known.get(row["sn"])

    def import_instance(self, instance: Device, row: dict[str, str], **kwargs: Any) -> None:
        """Fill in the row, checked as the forms check it; raises ValidationError."""
        self.once(row["sn"], kwargs["row_number"])
        owner, model_key, is_new = self.organization(row), row.get("model_key", ""), instance.pk is None
        if is_new and not self.may_add:
            raise ValidationError(_("{sn} is not your device; only platform staff adds devices.").format(sn=row["sn"]))
        if is_new and not re.fullmatch(SN_PATTERN, row["sn"]):
            raise ValidationError({"sn": _("1 to 64 letters, digits, hyphens or underscores, no leading sign.")})
        if is_new and (other := self.alike.get(row["sn"].upper())):
            raise ValidationError({"sn": _("Did you mean {sn}? It is here already.").format(sn=other)})
        if not is_new and not self.rights.may(Role.OPERATOR, instance.organization_id):
            raise ValidationError(_("Only an operator of its organization may rename a device."))
        if not is_new and owner is not None and owner != instance.organization:
            raise ValidationError({"organization_id": _("It is here already: assign or transfer it on its page.")})
        if not is_new and model_key not in ("", instance.model_key):
            raise ValidationError({"model_key": _("The device itself reports which product it is.")})
        if model_key and not MODEL_KEY.fullmatch(model_key):
            raise ValidationError({"model_key": _("Domain, type and sub-type with hyphens, such as 3-2-0.")})
        if len(row.get("callsign", "")) > 128:
            raise ValidationError({"callsign": _("At most {most} characters.").format(most=128)})
        instance.callsign = row.get("callsign", instance.callsign)
        if is_new:
            instance.sn, instance.model_key, instance.organization = row["sn"], model_key, owner

    def save_instance(self, instance: Device, is_create: bool, row: dict[str, str], **kwargs: Any) -> None:
        if not is_create:
            wanted, instance.callsign = (
                instance.callsign,
                Device.objects.values_list("callsign", flat=True).get(pk=instance.pk),
            )
            registry.rename(instance, wanted, actor=self.actor)
            return
        owner = instance.organization
        if owner is not None and (tried := self.undone[owner.pk]):
            room = pairing.room_in({owner.pk: owner.device_limit})
            if room.get(owner.pk, tried + 1) <= tried:
                raise ValidationError(_("{name} has reached its limit of devices.").format(name=owner.name))
        made = registry.add(
            actor=self.actor,
            sn=instance.sn,
            owner=owner,
            callsign=instance.callsign,
            model_key=instance.model_key,
        )
        instance.pk = made.pk
        if owner is not None:
            self.added[owner.pk] += 1


class IssuedRows(RowsResource):
    """Rows that are all new and come with something that is shown once."""

    def get_instance(self, instance_loader: object, row: dict[str, str]) -> Model | None:
        return None

    def of(self, row: dict[str, str]) -> Organization:
        """The organization of a row: the only one of this user if the file names none; else ValidationError."""
        found = self.organization(row) or self.only
        if found is None:
            raise ValidationError({"organization_id": _("Say which organization.")})
        return found


class CodeRows(IssuedRows):
    """Binding codes, which are made here: a file that holds codes would be one more place to lose them."""

    name = "binding-codes"
    needed = ("label",)

    label = column("label")
    organization_id = column("organization_id", "organization")
    expires_at = column("expires_at")
    max_uses = column("max_uses")

    class Meta:
        model = BindingCode
        fields = ("label", "organization_id", "expires_at", "max_uses")
        import_id_fields: ClassVar[tuple[str, ...]] = ()
        skip_html_diff = store_instance = True

    @classmethod
    def labels(cls) -> dict[str, str]:
        return {
            "label": _("Label"),
            "organization_id": _("Organization ID"),
            "expires_at": _("Expires"),
            "max_uses": _("Most uses"),
        }

    @classmethod
    def explained(cls, organization_id: str) -> dict[str, tuple[str, str]]:
        end = _(
            "A day or a time in UTC, such as 2030-01-31 or 2030-01-31 18:00; a day is its first moment."
            " Empty: in {days} days. “never”: not at all."
        ).format(days=CODE_LIFETIME.days)
        return {
            "label": (_("For whom or which site, up to 100 characters; each once."), "North pier"),
            "organization_id": (_whose(), organization_id),
            "expires_at": (end, f"{timezone.now() + 2 * CODE_LIFETIME:%Y-%m-%d} 18:00"),
            "max_uses": (_("How many docks may bind with it, a whole number from 1; empty: no limit."), "1"),
        }

    def import_instance(self, instance: BindingCode, row: dict[str, str], **kwargs: Any) -> None:
        """Fill in the row; raises ValidationError. Without a time a code lives as long as one of the form."""
        instance.organization, instance.label = self.of(row), row["label"]
        self.once(f"{row['label']} ({instance.organization.name})", kwargs["row_number"])
        if len(row["label"]) > 100:
            raise ValidationError({"label": _("At most {most} characters.").format(most=100)})
        uses = row.get("max_uses", "")
        if uses and not (uses.isdecimal() and 0 < int(uses) < 10_000):
            raise ValidationError({"max_uses": _("A whole number from 1, or empty for no limit.")})
        instance.max_uses = int(uses) if uses else None
        instance.expires_at = self.end_of(row.get("expires_at", ""))

    def end_of(self, text: str) -> datetime | None:
        if text.casefold() == NEVER:
            return None
        if not text:
            return timezone.now() + CODE_LIFETIME
        try:
            found = moment(text)
        except ValidationError as error:
            raise ValidationError({"expires_at": error.messages}) from error
        if found <= timezone.now():
            raise ValidationError({"expires_at": _("It is over already.")})
        return found

    def save_instance(self, instance: BindingCode, is_create: bool, row: dict[str, str], **kwargs: Any) -> None:
        issued = codes.issue(
            actor=self.actor,
            organization=instance.organization,
            label=instance.label,
            expires_at=instance.expires_at,
            max_uses=instance.max_uses,
        )
        instance.hint = issued[0].hint
        self.secrets.append(issued)


class InvitationRows(IssuedRows):
    """People who are asked to become members: nobody becomes one without saying yes."""

    name = "invitations"
    needed = ("username", "role")

    username = column("username")
    role_name = column("role")
    organization_id = column("organization_id", "organization")

    class Meta:
        model = Invitation
        fields = ("username", "role_name", "organization_id")
        import_id_fields: ClassVar[tuple[str, ...]] = ()
        skip_html_diff = store_instance = True

    @classmethod
    def labels(cls) -> dict[str, str]:
        return {"username": _("User name"), "role": _("Role"), "organization_id": _("Organization ID")}

    @classmethod
    def explained(cls, organization_id: str) -> dict[str, tuple[str, str]]:
        return {
            "username": (_("Up to 150 letters, digits and @ . + - _; of somebody who is no member yet."), "olga.n"),
            "role": (_("One of these words: viewer, operator, manager."), "operator"),
            "organization_id": (_whose(), organization_id),
        }

    def import_instance(self, instance: Invitation, row: dict[str, str], **kwargs: Any) -> None:
        """Fill in the row; raises ValidationError, also for members and for those who are invited already."""
        owner, username = self.of(row), row["username"]
        self.once(f"{username} ({owner.name})", kwargs["row_number"])
        if not username or len(username) > 150:
            raise ValidationError({"username": _("1 to {most} characters.").format(most=150)})
        UnicodeUsernameValidator()(username)
        if row["role"].casefold() not in Role.values:
            text = _("“{role}” is not one of {names}.") if row["role"] else _("Say which: {names}.")
            raise ValidationError({"role": text.format(role=row["role"], names=", ".join(Role.values))})
        if Membership.objects.filter(organization=owner, user__username__iexact=username).exists():
            raise ValidationError(_("{name} is a member of {owner} already.").format(name=username, owner=owner.name))
        pending = invitations.in_state(Invitation.objects.filter(organization=owner), invitations.State.USABLE)
        if pending.filter(username__iexact=username).exists():
            raise ValidationError(_("{name} is invited to {owner} already.").format(name=username, owner=owner.name))
        instance.organization, instance.username, instance.role = owner, username, Role(row["role"].casefold())

    def save_instance(self, instance: Invitation, is_create: bool, row: dict[str, str], **kwargs: Any) -> None:
        issued = invitations.issue(
            actor=self.actor,
            organization=instance.organization,
            username=instance.username,
            role=Role(instance.role),
        )
        self.secrets.append(issued)


def _whose() -> str:
    return _("The ID of one of your organizations; not needed if you have only one.")


def shown_once(row: Model, plain: str) -> str:
    """What a technician types in, or the link that an invited person opens."""
    if isinstance(row, BindingCode):
        return plain
    return f"{settings.PUBLIC_URL}{reverse('welcome', args=[plain])}"


IMPORTS: Final[dict[type[Model], type[RowsResource]]] = {
    Device: DeviceRows,
    BindingCode: CodeRows,
    Invitation: InvitationRows,
}
