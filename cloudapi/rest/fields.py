"""Fields and serializers of bodies that take JSON as it is: no "yes" for true, no 5 for "5", no misspelt name."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy
from rest_framework import serializers


class BooleanField(serializers.BooleanField):
    """`true` or `false`."""

    def to_internal_value(self, data: object) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class CharField(serializers.CharField):
    """Text."""

    def to_internal_value(self, data: object) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class IntegerField(serializers.IntegerField):
    """A whole number, which 5.0 is in JSON, too."""

    def to_internal_value(self, data: object) -> int:
        if isinstance(data, float) and data.is_integer():
            data = int(data)
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class MomentField(serializers.DateTimeField):
    """A moment with its offset: without one nobody knows whose clock is meant."""

    default_error_messages: ClassVar = {
        "naive": gettext_lazy("Give it with its offset from UTC, as 2026-12-01T02:00:00+08:00 or 2026-11-30T18:00:00Z.")
    }

    def enforce_timezone(self, value: datetime) -> datetime:
        if timezone.is_naive(value):
            self.fail("naive")
        try:
            return value.astimezone(UTC)
        except OverflowError:
            self.fail("overflow")


class StrictSerializer(serializers.Serializer[Any]):
    """An object that has no unknown field, and none that is only read."""

    def to_internal_value(self, data: object) -> dict[str, Any]:
        writable = sorted(name for name, field in self.fields.items() if not field.read_only)
        unknown = gettext("Unknown field. Known are {names}.").format(names=", ".join(writable))
        refused = {
            str(name): [gettext("This cannot be set here.") if name in self.fields else unknown]
            for name in (sorted(set(data) - set(writable)) if isinstance(data, Mapping) else ())
        }
        try:
            value: dict[str, Any] = super().to_internal_value(data)
        except serializers.ValidationError as error:
            found: Any = error.detail  # one entry for each field
            raise serializers.ValidationError({**refused, **found}) from None
        if refused:
            raise serializers.ValidationError(refused)
        return value


class StrictModelSerializer(StrictSerializer, serializers.ModelSerializer[Any]):
    """The same for a row."""

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.BooleanField: BooleanField,
        models.CharField: CharField,
        models.TextField: CharField,
        models.IntegerField: IntegerField,
        models.PositiveIntegerField: IntegerField,
        models.PositiveSmallIntegerField: IntegerField,
        models.BigIntegerField: IntegerField,
    }
