"""Which site a device is at and which labels it has: always those of its own organization."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from django.db import transaction
from django.utils.translation import gettext

from devices.live import broadcast
from devices.models import Device, DeviceLabel, Label, Site
from organizations import audit
from organizations.audit import Actor
from organizations.models import Organization


@transaction.atomic
def assign(
    devices: Iterable[Device],
    *,
    organization: Organization,
    actor: Actor,
    site: Site | str | None = "",
    add: Collection[Label] = (),
    remove: Collection[Label] = (),
) -> list[Device]:
    """Put these devices at a site (None: at none, "": where they are), and add and take off labels; audited.

    Returns those that this changed. A device that belongs to another organization now is left alone. Raises ValueError
    for a site or a label of another organization.
    """
    owners = {label.organization_id for label in (*add, *remove)}
    owners |= {site.organization_id} if isinstance(site, Site) else set()
    if owners - {organization.pk}:
        raise ValueError(gettext("a site or a label of another organization"))
    locked = Device.objects.filter(pk__in=[device.pk for device in devices], organization=organization)
    rows = list(locked.lock_in_order())
    had: defaultdict[int, dict[int, str]] = defaultdict(dict)
    for row in DeviceLabel.objects.filter(device__in=rows).select_related("label"):
        had[row.device_id][row.label_id] = row.label.name
    names = dict(Site.objects.filter(pk__in={row.site_id for row in rows}).values_list("pk", "name"))
    gone = {label.pk for label in remove}
    changed, events, new = [], [], []
    for device in rows:
        labels = {key: name for key, name in had[device.pk].items() if key not in gone}
        labels |= {label.pk: label.name for label in add}
        before, after = {}, {}
        if not isinstance(site, str) and (site and site.pk) != device.site_id:
            before["site"] = names.get(device.site_id or 0, "")
            after["site"] = site.name if site else ""
            device.site = site
        if labels != had[device.pk]:
            before["labels"], after["labels"] = (", ".join(sorted(all_.values())) for all_ in (had[device.pk], labels))
            new += [DeviceLabel(device=device, label_id=key) for key in labels.keys() - had[device.pk].keys()]
        if after:
            changed.append(device)
            event = audit.event(actor, "change", device, organization_id=organization.pk, before=before, after=after)
            events.append(event)
    Device.objects.write_fields(changed, ["site"])
    DeviceLabel.objects.filter(device__in=changed, label__in=gone - {label.pk for label in add}).delete()
    DeviceLabel.objects.bulk_create(new)
    audit.record(events)
    broadcast.tell_device(changed)
    return changed
