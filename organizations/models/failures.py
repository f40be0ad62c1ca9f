"""Wrong codes, by which gateways are locked out."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from organizations.language.stored import shown
from organizations.models.organizations import Organization

# How far the clocks of our hosts may differ. A row dated later still was written before a clock was set back.
CLOCK_TOLERANCE = timedelta(minutes=1)


class BindingFailureQuerySet(models.QuerySet["BindingFailure"]):
    """Wrong pairs of organization id and binding code."""

    LIMIT = 5
    # Different wrong codes for one organization from all gateways that come through enrolment: anybody invents those.
    ENROLMENT_LIMIT = 20
    WINDOW = timedelta(minutes=10)

    def recent(self, now: datetime) -> Self:
        """What counts towards a lock-out at this moment."""
        return self.filter(last_at__gt=now - self.WINDOW, last_at__lte=now + CLOCK_TOLERANCE)

    def locked_out(self, now: datetime) -> models.QuerySet["BindingFailure", Mapping[str, object]]:
        """Gateways with too many different wrong pairs, as `{"gateway_sn", "by_enrolment", "pairs"}`."""
        counted = self.recent(now).order_by().values("gateway_sn", "by_enrolment").annotate(pairs=models.Count("pk"))
        return counted.filter(pairs__gte=self.LIMIT)

    def by_organization(self, now: datetime) -> Counter[str]:
        """How many different wrong codes came through enrolment, by the id of the organization."""
        counted = self.recent(now).filter(by_enrolment=True).order_by().values("organization_id_tried")
        pairs = counted.annotate(pairs=models.Count("pair_digest", distinct=True))
        return Counter(dict(pairs.values_list("organization_id_tried", "pairs")))

    def guessed(self, now: datetime) -> models.QuerySet["Organization", Organization]:
        """The organizations whose codes are not taken through enrolment now, after too many wrong ones."""
        counts = self.by_organization(now)
        locked = [organization_id for organization_id, pairs in counts.items() if pairs >= self.ENROLMENT_LIMIT]
        return Organization.objects.filter(organization_id__in=locked)


class BindingFailure(models.Model):
    """One wrong pair of organization id and code that a gateway tried.

    A dock repeats an unanswered request, so the same pair again is the same row, not a further guess.
    """

    gateway_sn = models.CharField(_("gateway SN"), max_length=64)
    by_enrolment = models.BooleanField(
        _("through enrolment"),
        default=False,
        db_default=False,
        help_text=_(
            "If it did, this gateway need not be the guesser; with its own account this one is not locked out."
        ),
    )
    organization_id_tried = models.CharField(_("organization ID tried"), max_length=64, blank=True)
    pair_digest = models.CharField(max_length=64, editable=False)
    reason = models.CharField(_("reason"), max_length=64)
    first_at = models.DateTimeField(_("first tried"), auto_now_add=True)
    last_at = models.DateTimeField(_("last tried"))

    objects: ClassVar[BindingFailureQuerySet] = BindingFailureQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-last_at",)
        constraints = [
            models.UniqueConstraint(fields=["gateway_sn", "pair_digest"], name="one_failure_per_gateway_and_pair"),
        ]
        indexes = [
            models.Index(fields=["last_at"], name="binding_failure_last_at"),  # the global count, pruning
            models.Index(fields=["organization_id_tried", "last_at"], name="binding_failure_tried"),  # flooded
        ]
        verbose_name = _("binding failure")
        verbose_name_plural = _("binding failures")

    def __str__(self) -> str:
        return f"{self.gateway_sn}: {shown(self.reason)}"
