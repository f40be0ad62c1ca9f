"""Problems of the start page that somebody knows of."""

from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from devices.models.devices import Device
from organizations.models import Organization
from organizations.tenancy import TenantModel, TenantQuerySet


class Acknowledgement(TenantModel):
    """That a person knows of a problem, which the start page hides until a moment, unless it gets larger.

    Where docks are counted there is a row for each dock that had the problem then, so that another one shows it again.
    Other kinds have one row without a device, which holds for as many rows as there were then (`count`). Without an
    organization it is platform staff's own, for what only they see. A device's row is forgotten with its owner:
    FORGOTTEN_ON_RELEASE.
    """

    organization = models.ForeignKey(
        Organization,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="acknowledgements",
        verbose_name=_("organization"),
    )
    kind = models.CharField(_("problem"), max_length=40, help_text=_("A name in KINDS of cloudapi/attention."))
    device = models.ForeignKey(
        Device,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="acknowledgements",
        verbose_name=_("device"),
    )
    count = models.PositiveIntegerField(_("count"), default=1, help_text=_("How many rows had the problem then."))
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("by")
    )
    at = models.DateTimeField(_("at"), default=timezone.now)
    until = models.DateTimeField(_("until"), help_text=_("From then on the start page shows the problem again."))

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-at", "-pk")
        indexes = [
            models.Index(fields=["until"], name="acknowledgement_until"),  # what the start page hides now, pruning
        ]
        verbose_name = _("acknowledgement")
        verbose_name_plural = _("acknowledgements")

    def __str__(self) -> str:
        return f"{self.kind} until {self.until:%Y-%m-%d %H:%M}"
