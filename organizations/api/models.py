"""Answers kept for repeats. `organizations/models.py` makes Django load them."""

from django.db import models
from django.utils import timezone


class IdempotentAnswer(models.Model):
    """The answer to a request with an `Idempotency-Key`, kept for repeats: `organizations/api/idempotency.py`."""

    principal = models.CharField(max_length=40, help_text='Who asked: "key:12" or "user:3".')
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="Keyed digest of method, path and body.")
    status = models.PositiveSmallIntegerField()
    # Text, because jsonb would change the order of names, and refuse NUL in what an error repeats.
    body = models.TextField(help_text="JSON in ASCII.")
    headers = models.JSONField(default=dict)
    created = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("created",)
        constraints = [
            models.UniqueConstraint(fields=["principal", "key"], name="one_answer_per_principal_and_key"),
        ]
        indexes = [models.Index(fields=["created"], name="idempotent_answer_created")]  # pruning

    def __str__(self) -> str:
        return f"{self.status} for {self.principal}"
