"""`?include=`: data that an answer shows only when the client asks for it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

from django.db.models import Model, Prefetch, QuerySet
from django.utils.translation import gettext, override
from rest_framework import serializers
from rest_framework.viewsets import GenericViewSet

from cloudapi.rest.fields import StrictModelSerializer
from cloudapi.rest.rendering import ENGLISH

INCLUDE: Final = "include"


class Include(NamedTuple):
    """Data that a serializer shows only when asked, and what the query needs for it."""

    select: tuple[str, ...] = ()
    prefetch: "tuple[str | Prefetch[Any], ...]" = ()
    is_heavy: bool = False  # too much for the rows of a list


class IncludingSerializer(StrictModelSerializer):
    """A serializer whose fields named in `includes` are there only if its context's `include` names them."""

    related: ClassVar[Sequence[str]] = ()  # for select_related, always
    includes: ClassVar[Mapping[str, Include]] = {}

    def get_fields(self) -> dict[str, serializers.Field[object, object, object, object]]:
        left_out = set(self.includes) - set(self.context.get("include", ()))
        return {name: field for name, field in super().get_fields().items() if name not in left_out}

    def to_representation(self, instance: Any) -> dict[str, Any]:
        with override(ENGLISH):
            return super().to_representation(instance)


class IncludingViewSet(GenericViewSet[Any]):
    """Shows what `?include=` names, of its serializer's `includes`, and reads nothing else that is related."""

    deferred: ClassVar[Mapping[str, str]] = {}  # what is not read unless that data is included: column -> include

    def offered(self) -> Mapping[str, Include]:
        """What may be included in an answer to this request."""
        found: Mapping[str, Include] = getattr(self.get_serializer_class(), "includes", {})
        return {name: include for name, include in found.items() if self.detail or not include.is_heavy}

    def included(self) -> list[str]:
        """The data that the request asks for; ValidationError for a name that is not offered."""
        offered = self.offered()
        asked = list(dict.fromkeys(filter(None, self.request.query_params.get(INCLUDE, "").split(","))))
        if unknown := [name for name in asked if name not in offered]:
            text = gettext("{name} cannot be included here; these can: {offered}.")
            if not offered:
                text = gettext("{name} cannot be included here: nothing can.")
            values = {"name": repr(unknown[0][:40]), "offered": ", ".join(offered)}
            raise serializers.ValidationError({INCLUDE: [text.format(**values)]})
        return asked

    def get_serializer_context(self) -> dict[str, object]:
        return {**super().get_serializer_context(), "include": self.included() if self.request else ()}

    def get_queryset(self) -> QuerySet[Model]:
        offered, asked = self.offered(), self.included()
        related = list(getattr(self.get_serializer_class(), "related", ()))
        related += [path for name in asked for path in offered[name].select]
        rows = super().get_queryset().prefetch_related(*(path for name in asked for path in offered[name].prefetch))
        if related:  # without a name Django would follow every relation
            rows = rows.select_related(*related)
        return rows.defer(*(column for column, name in self.deferred.items() if name not in asked))
