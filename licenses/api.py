"""REST: unlock licenses, of all docks and of one, and license files."""

from typing import Any, ClassVar

import django_filters
from django import forms
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db.models import Model, QuerySet
from django.http import HttpResponseBase
from django.utils import timezone
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.parsers import MultiPartParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings

from cloudapi.rest.filters import BeforeFilter, BooleanFilter, ChoiceFilter, SinceFilter
from devices.api.exchanges import OfDeviceMixin
from devices.live import broadcast
from licenses import comparison, files, validity, views
from licenses.models import LicenseFile, UnlockLicense, UnlockLicenseQuerySet
from licenses.serializers import (
    INVENTORIES,
    DockLicenseSerializer,
    InventorySerializer,
    LicenseFileSerializer,
    UnlockLicenseSerializer,
    UploadSerializer,
)
from organizations.api.filters import OrganizationIDFilter, TypedFilter
from organizations.api.tenant import PatchMixin, RetrieveMixin, TenantViewSet, actor
from organizations.models import Role

ID_IN_PATHS = "[0-9]{1,18}"
DOMAINS = {word: domain for domain, word in INVENTORIES.items()}
FRAMING = 64 * 2**10  # bytes that an upload may have beside its file


class IntegerFilter(django_filters.NumberFilter):  # type: ignore[misc]
    """A whole number."""

    field_class = forms.IntegerField


class DockLicenseFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Which licenses of a dock."""

    inventory = ChoiceFilter(choices=[(word, word) for word in DOMAINS], method="of_inventory")
    in_other_inventory = BooleanFilter(help_text="Whether the other inventory of the dock has it, too.")
    listed = BooleanFilter(method="once", help_text="Each license of a dock once: the aircraft's row, else the dock's.")
    state = ChoiceFilter(choices=[(name, words) for name, (words, _) in validity.STATES.items()], method="in_state")
    type = IntegerFilter(help_text="DJI's number of its kind.")
    enabled = BooleanFilter(help_text="Whether it is switched on.")
    license_id = IntegerFilter(help_text="DJI's number of the license.")
    end_before = BeforeFilter("end_time", help_text="Ends before this moment.")
    end_after = SinceFilter("end_time", help_text="Ends at this moment or later.")
    updated_since = SinceFilter(
        "updated", help_text="Changes of the row, not of when it was read; what vanished is not among them."
    )
    search = TypedFilter(
        method="matching",
        help_text="In the license's name, the dock's serial number and callsign; or a whole license id, or the whole "
        "serial number that it is bound to.",
    )

    class Meta:
        model = UnlockLicense
        fields = ()

    def of_inventory(self, rows: UnlockLicenseQuerySet, _name: str, value: str) -> UnlockLicenseQuerySet:
        return rows.filter(device_model_domain=DOMAINS[value])

    def once(self, rows: UnlockLicenseQuerySet, _name: str, value: bool) -> UnlockLicenseQuerySet:
        return rows.listed() if value else rows

    def in_state(self, rows: UnlockLicenseQuerySet, _name: str, value: str) -> UnlockLicenseQuerySet:
        _, chosen = validity.STATES[value]
        return chosen(rows, timezone.now())

    def matching(self, rows: UnlockLicenseQuerySet, _name: str, value: str) -> UnlockLicenseQuerySet:
        return rows.matching(value)


class LicenseFilter(DockLicenseFilter):
    """Which licenses of all docks."""

    device = TypedFilter("device__sn", help_text="Serial number of the dock.")
    organization = OrganizationIDFilter("device__organization")


class LicenseViewSet(ListModelMixin, TenantViewSet):
    """What routes to licenses share."""

    queryset = UnlockLicense.objects.with_reading()
    filter_backends = (DjangoFilterBackend,)  # which searches as well
    orderings = ("end_time", "begin_time", "id", "updated")
    deferred: ClassVar = {"raw": "raw"}

    def get_serializer_context(self) -> dict[str, object]:
        return {**super().get_serializer_context(), "now": timezone.now()}


class UnlockLicenseViewSet(RetrieveMixin, PatchMixin, LicenseViewSet):
    """Unlock licenses, a row for each of the two inventories of a dock.

    All but the note is as the dock reported it. One is switched by a service call, `unlock_license_switch`.
    """

    serializer_class = UnlockLicenseSerializer
    filterset_class = LicenseFilter
    lookup_value_regex = ID_IN_PATHS
    roles: ClassVar = {"partial_update": Role.OPERATOR}

    def changed(self, row: UnlockLicense) -> None:
        broadcast.tell_licenses([row.device])


class InventoriesPagination(api_settings.DEFAULT_PAGINATION_CLASS):  # type: ignore[misc,name-defined]
    """Pages of a dock's licenses, each with what was last read of both inventories."""

    def paginate_queryset(
        self, queryset: UnlockLicenseQuerySet, request: Request, view: "DockLicenseViewSet"
    ) -> list[UnlockLicense] | None:
        self.inventories = comparison.sides(view.device, now=timezone.now())
        page: list[UnlockLicense] | None = super().paginate_queryset(queryset, request, view)
        return page

    def get_paginated_response(self, data: list[object]) -> Response:
        response: Response = super().get_paginated_response(data)
        response.data["inventories"] = InventorySerializer(self.inventories, many=True).data
        return response

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        page: dict[str, Any] = super().get_paginated_response_schema(schema)
        properties = {
            "device_model_domain": {"type": "integer", "enum": list(INVENTORIES)},
            "inventory": {"type": "string", "enum": list(INVENTORIES.values())},
            "fetched_at": {"type": ["string", "null"], "format": "date-time", "description": "Null: never read."},
            "complete": {"type": ["boolean", "null"], "description": "Whether the list held every license."},
            "consistence": {
                "type": ["boolean", "null"],
                "description": "Whether the dock says that both inventories are the same.",
            },
            "count": {"type": ["integer", "null"], "description": "Licenses in that list."},
            "is_stale": {"type": "boolean", "description": "Whether it is too old to be called current."},
        }
        one = {"type": "object", "required": list(properties), "properties": properties}
        page["required"].append("inventories")
        page["properties"]["inventories"] = {
            "type": "array",
            "description": "The aircraft's and the dock's, by the last list that held licenses.",
            "items": one,
        }
        return page


class DockLicenseViewSet(OfDeviceMixin, LicenseViewSet):
    """The unlock licenses of one dock."""

    serializer_class = DockLicenseSerializer
    filterset_class = DockLicenseFilter
    pagination_class = InventoriesPagination

    def get_queryset(self) -> QuerySet[Model]:
        return super().get_queryset().filter(device=self.device)


# --- license files -----------------------------------------------------------------------------------


class LicenseFileFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Which license files."""

    organization = OrganizationIDFilter()
    md5 = django_filters.CharFilter(lookup_expr="iexact", help_text="In hexadecimal digits.")
    created_since = SinceFilter("created")

    class Meta:
        model = LicenseFile
        fields = ()


class UploadParser(MultiPartParser):
    """Forms with a file. Raises RequestDataTooBig, and reads nothing, if it is much larger than any license file."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        length = (parser_context or {})["request"].META.get("CONTENT_LENGTH") or 0
        if int(length) > settings.LICENSE_FILE_CAP + FRAMING:
            raise RequestDataTooBig
        return super().parse(stream, media_type, parser_context)


class LicenseFileViewSet(RetrieveMixin, ListModelMixin, TenantViewSet):
    """License files from DJI's FlySafe site, for docks that cannot fetch their licenses themselves."""

    queryset = LicenseFile.objects.with_downloads()
    serializer_class = LicenseFileSerializer
    filterset_class = LicenseFileFilter
    parser_classes = (UploadParser,)
    search_fields = ("name",)
    orderings = ("-created", "name", "size")
    lookup_value_regex = ID_IN_PATHS
    roles: ClassVar = {"create": Role.OPERATOR, "destroy": Role.MANAGER}

    @extend_schema(
        request=UploadSerializer,
        responses={
            201: LicenseFileSerializer,
            200: OpenApiResponse(LicenseFileSerializer, "These bytes were there already, perhaps with another name."),
        },
    )
    def create(self, request: Request) -> Response:
        """Keep a file for the docks of an organization."""
        given = UploadSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        owner = self.organization(given.validated_data.get("organization"), Role.OPERATOR)
        stored = files.store(organization=owner, upload=given.validated_data["file"], actor=actor(request))
        code = status.HTTP_200_OK if stored.already_there else status.HTTP_201_CREATED
        answer = self.answer(self.get_queryset().get(pk=stored.pk), code)
        answer["Location"] = self.reverse_action("detail", [stored.pk])
        return answer

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a file with the log of its downloads; not while an open service call uses it."""
        files.delete(self.get_object(), actor=actor(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        """What is downloaded is bytes, whatever is asked for."""
        return super().perform_content_negotiation(request, force or self.action == "download")

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    @action(detail=True)
    def download(self, request: Request, pk: str) -> HttpResponseBase:
        """The file itself, byte for byte; who fetched it is noted."""
        who = actor(request)
        return views.send(request, self.get_object(), user=who.user, api_key=who.key)
