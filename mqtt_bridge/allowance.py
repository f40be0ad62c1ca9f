"""How much of what each gateway sends is kept in the journal.

Of all it sends `settings.JOURNAL_BYTES_PER_DAY`, 0 for no limit; of what a disabled gateway repeats a row an hour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext_noop

from mqtt_bridge.database import bulk
from mqtt_bridge.models import Exchange

ROW = 200  # bytes that a row takes beside payload and reply, about
MAX_GATEWAYS = 100_000  # whose share of today is known
STRANGERS = 20  # shares that all gateways without an owner have together: anybody may name ever new ones

# in the journal, behind the reason
MORE = gettext_noop("{count} more since the last entry")
NOT_KEPT = gettext_noop("{count} more are not kept")
REPEATED_AFTER = timedelta(hours=1)  # a disabled gateway asks every 10 s, for as long as it is disabled


@dataclass
class _Repeated:
    """What a disabled gateway sent since its last row that was kept."""

    since: datetime
    skipped: int = 0  # messages


class Repeats:
    """Which refusals of disabled gateways are kept: one an hour, whose reason says how many were not.

    They are in memory, so that they cost no query: after a restart each gateway has a row at once. Only devices that
    exist are disabled, so that nobody can fill it up.
    """

    def __init__(self) -> None:
        # By gateway and organization, apart for what came through enrolment.
        self._known: dict[tuple[str, int | None, bool], _Repeated] = {}

    def keep(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows without what was repeated too early; once a gateway is served again, its next refusal is news."""
        kept = []
        for row in rows:
            is_refusal = row["reason"] == Exchange.DISABLED
            if is_refusal or (self._known and row["method"] == "config"):
                key, at = (row["gateway_sn"], row["organization_id"], row["by_enrolment"]), row["received_at"]
                known = self._known.pop(key, None)
                if is_refusal and known and known.since <= at < known.since + REPEATED_AFTER:
                    known.skipped += 1
                    self._known[key] = known
                    continue
                if is_refusal:
                    self._known[key] = _Repeated(at)
                    if known and known.skipped:
                        row["reason"] += f"; {MORE.format(count=known.skipped)}"
            kept.append(row)
        return kept


@dataclass
class _Share:
    """What one gateway has in the journal of today, for one owner; or all gateways that nobody owns."""

    gateway_sn: str = ""  # "": all that nobody owns
    size: int = 0  # bytes
    skipped: int = 0  # messages
    noted: int = 0  # of those, as the notice has it
    noted_at: datetime | None = None  # `received_at` of the notice, a row of the journal

    @property
    def why(self) -> str:
        """How the text of the notice begins."""
        return Exchange.FULL if self.gateway_sn else Exchange.FULL_OF_STRANGERS

    @property
    def notice(self) -> str:
        return f"{self.why}: {NOT_KEPT.format(count=self.skipped)}"


class Allowance:
    """The shares of today, in memory, so that they cost no query: after a restart each gateway may fill its own again.

    A stranger is a gateway without an owner, whatever organization it names.
    """

    def __init__(self) -> None:
        self._day: date | None = None
        # By gateway and organization, apart for what came through enrolment.
        self._shares: dict[tuple[str, int | None, bool], _Share] = {}
        self._strangers = _Share()

    def is_full(self, owner: int | None) -> bool:
        """Whether nothing more is kept today of a stranger, because strangers sent too much."""
        limit = STRANGERS * settings.JOURNAL_BYTES_PER_DAY
        return owner is None and limit > 0 and self._strangers.size >= limit

    def count_stranger(self, size: int) -> None:
        """Count what is kept of a stranger outside the journal, in bytes."""
        self._strangers.size += ROW + size

    def keep(self, rows: Sequence[dict[str, Any]], owners: Mapping[str, int | None]) -> list[dict[str, Any]]:
        """The rows that fit; and once a day for each share that is full, a notice that says so."""
        limit = settings.JOURNAL_BYTES_PER_DAY
        if not limit:
            return list(rows)
        today = timezone.now().date()
        if self._day != today or len(self._shares) > MAX_GATEWAYS:
            self.update_notices()
            self._shares.clear()
        if self._day != today:
            self._day, self._strangers = today, _Share()
        kept = []
        for row in rows:
            gateway_sn, organization_id = row["gateway_sn"], row["organization_id"]
            # What came through enrolment must not use up the share of the real dock.
            owner = None if row["by_enrolment"] else owners.get(gateway_sn)
            if owner is None and self.is_full(owner):
                share, organization_id = self._strangers, None
            else:
                key = gateway_sn, organization_id, row["by_enrolment"]
                share = self._shares.get(key) or self._shares.setdefault(key, _Share(gateway_sn))
                if share.size < limit:
                    size = len(row["payload"].encode()) + len(row["reply"].encode())
                    share.size += ROW + size
                    if owner is None:
                        self.count_stranger(size)
                    kept.append(row)
                    continue
            share.skipped += 1
            if share.noted_at is None:
                share.noted, share.noted_at = 1, row["received_at"]
                notice = Exchange(
                    gateway_sn=share.gateway_sn,
                    organization_id=organization_id,
                    channel=row["channel"],
                    received_at=row["received_at"],
                    outcome=Exchange.Outcome.IGNORED,
                    reason=share.notice,
                )
                kept += bulk.values_of([notice])
        return kept

    def update_notices(self) -> None:
        """Bring the notices up to date; a statement for each share that was exceeded since the last time."""
        for share in (self._strangers, *self._shares.values()):
            if share.noted_at is not None and share.skipped != share.noted:
                notices = Exchange.objects.filter(gateway_sn=share.gateway_sn, received_at=share.noted_at, method="")
                notices.filter(reason__startswith=share.why).update(reason=share.notice)
                share.noted = share.skipped
