"""Letting a gateway try again that was locked out after wrong codes."""

from collections import Counter
from collections.abc import Iterable

from django.db import transaction

from organizations import audit
from organizations.audit import Actor
from organizations.models import BindingFailure


def clear(gateway_sns: Iterable[str], *, actor: Actor) -> int:
    """Forget the wrong codes of these gateways, audited; returns how many gateways had any."""
    with transaction.atomic():
        failures = BindingFailure.objects.filter(gateway_sn__in=set(gateway_sns)).order_by("pk")
        rows = list(failures.select_for_update())
        pairs = Counter(row.gateway_sn for row in rows)
        latest = {row.gateway_sn: row for row in rows}
        audit.record(
            audit.event(
                actor,
                "clear lock-out",
                row,
                organization_id=None,
                before={"gateway_sn": sn, "wrong_pairs": pairs[sn], "last_at": row.last_at.isoformat()},
            )
            for sn, row in latest.items()
        )
        BindingFailure.objects.filter(pk__in=[row.pk for row in rows]).delete()
    return len(latest)
