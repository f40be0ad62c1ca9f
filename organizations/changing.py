"""When a row last changed, whatever way it is written."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from organizations.tenancy import T, TenantModel, TenantQuerySet


class ChangingQuerySet(TenantQuerySet[T]):
    """Rows whose `updated` is the time of their last change. A caller that writes that field too is not overruled."""

    def update(self, **values: object) -> int:
        """Django's, and so `bulk_update` and what a deleted row leaves behind (SET_NULL), which both end here."""
        return super().update(**{"updated": timezone.now()} | values if values else {})

    def write_fields(self, rows: Iterable[T], fields: Sequence[str]) -> None:
        """As in the base class; every row given counts as changed, so leave out those that are not."""
        changed, now = list(rows), timezone.now()
        if "updated" not in fields:
            fields = [*fields, "updated"]
            for row in changed:
                row.updated = now  # type: ignore[attr-defined]  # of every ChangingModel
        super().write_fields(changed, fields)

    def bulk_create(
        self,
        objs: Iterable[T],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[T]:
        """Django's; with `update_conflicts` every row given counts as changed, so leave out those that are not."""
        rows = list(objs)
        if update_fields is not None and "updated" not in update_fields:
            update_fields = [*update_fields, "updated"]
            now = timezone.now()
            for row in rows:
                row.updated = now  # type: ignore[attr-defined]  # of every ChangingModel
        return super().bulk_create(rows, batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields)


class ChangingModel(TenantModel):
    """A tenant's row with the time of its last change, however it is written; its manager is a ChangingQuerySet."""

    # A default, not `auto_now`: rows that are inserted by mqtt_bridge/database/bulk.py must have their value.
    updated = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[ChangingQuerySet[Any]] = ChangingQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        abstract = True
        base_manager_name = "objects"  # which Django takes to clear references to a deleted row

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        """Django's, and the moment with it."""
        self.updated = timezone.now()
        if update_fields:
            update_fields = {*update_fields, "updated"}
        super().save(*args, update_fields=update_fields, **kwargs)
