"""Query parameters: none is ignored, for a misspelt filter would show everything."""

from typing import Any, ClassVar

import django_filters
from django.utils.translation import gettext
from rest_framework import serializers
from rest_framework.request import Request

from cloudapi.rest.including import INCLUDE, IncludingViewSet


class ParametersViewSet(IncludingViewSet):
    """Answers 400 for a parameter that it does not know, that is empty, or that is given twice where one counts."""

    filterset_class: ClassVar[Any] = None
    parameters: ClassVar[frozenset[str]] = frozenset()  # query parameters of this route alone

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        super().initial(request, *args, **kwargs)
        if self.action is None:  # 405 is more to the point
            return
        filters = getattr(self.filterset_class, "base_filters", {})
        known = {*self.parameters, *([INCLUDE] if self.offered() else [])}
        if self.action == "list":
            pages: Any = self.paginator
            known |= pages.parameters | set(filters) | ({"search"} if getattr(self, "search_fields", None) else set())
        unknown = gettext("Unknown parameter. This route takes none.")
        if known:
            unknown = gettext("Unknown parameter. Known are {names}.").format(names=", ".join(sorted(known)))
        errors = {}
        for name, values in request.query_params.lists():
            if name not in known:
                errors[name] = [unknown]
            elif "" in values and name != INCLUDE:
                errors[name] = [gettext("Give it a value, or leave it out.")]
            elif len(values) > 1 and not isinstance(filters.get(name), django_filters.MultipleChoiceFilter):
                errors[name] = [gettext("Give it once: only one of several would count.")]
        if errors:
            raise serializers.ValidationError(errors)
