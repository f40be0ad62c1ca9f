"""Organizations, binding codes and whatever belongs to an organization as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from django.db.models import Prefetch

from organizations.fields import StrictModelSerializer


class Include(NamedTuple):
    """Data that a serializer shows only when asked, and what the query needs for it."""

    select: tuple[str, ...] = ()
    prefetch: "tuple[str | Prefetch[Any], ...]" = ()
    is_heavy: bool = False  # too much for the rows of a list


class IncludingSerializer(StrictModelSerializer):
    """A serializer whose fields named in `includes` are there only if its context's `include` names them."""

    related: ClassVar[Sequence[str]] = ()  # for select_related, always
    includes: ClassVar[Mapping[str, Include]] = {}

    def get_fields(self) -> dict[str, Any]:
        left_out = set(self.includes) - set(self.context.get("include", ()))
        return {name: field for name, field in super().get_fields().items() if name not in left_out}
