"""REST: imports and exports as jobs that a worker carries out."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

import django_filters
from django.db.models import Model, QuerySet
from django.http import HttpResponseBase, QueryDict
from django.utils.translation import gettext
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.mixins import ListModelMixin
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from cloudapi.file_jobs import access, asking, delivery, exporting, wording
from cloudapi.rest.fields import StrictSerializer
from cloudapi.rest.filters import ChoiceFilter, SinceFilter
from cloudapi.rest.including import IncludingSerializer
from cloudapi.rest.parsing import JSONParser
from cloudapi.retention import FILES_KEPT
from cloudapi.tables import reading
from cloudapi.tables.imports import IMPORTS
from cloudapi.tables.registry import NAMED
from licenses.api import UploadParser
from organizations import rights
from organizations.api.filters import OrganizationIDFilter
from organizations.api.idempotency import once
from organizations.api.tenant import RetrieveMixin, TenantViewSet, actor
from organizations.models import FileJob, Organization, Role
from organizations.serializers import TypedField

ID_IN_PATHS: Final = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
RESOURCES: Final = {resource.name: resource for resource in IMPORTS.values()}
ORGANIZATION: Final = "An `organization_id`. May be left out; then an export is of all that you may see."


class FilterValueField(serializers.Field[Any, Any, Any, Any]):
    """The value of a filter: text, as in the address of a list, or a number, true, false; several in a list."""

    def to_internal_value(self, data: object) -> list[str]:
        found = data if isinstance(data, list) else [data]
        words = {True: "true", False: "false"}
        no_surrogates = ProhibitSurrogateCharactersValidator()
        if not found or not all(isinstance(one, str | int) and str(one) for one in found):
            raise serializers.ValidationError(gettext("Text, a number, true or false, or a list of these."))
        for one in found:
            no_surrogates(str(one))
        return [words[one] if isinstance(one, bool) else str(one) for one in found]

    def to_representation(self, value: Any) -> Any:
        return value


FILTERS_SCHEMA: Final = {
    "type": "object",
    "additionalProperties": {"type": ["string", "integer", "boolean", "array"], "items": {"type": "string"}},
    "description": 'Which rows: the filters of this list in REST, such as `{"kind": "dock"}`.',
}


class NewExportSerializer(StrictSerializer):
    """An export."""

    kind = serializers.ChoiceField(choices=[FileJob.Kind.EXPORT.value])
    table = serializers.ChoiceField(choices=sorted(NAMED), help_text="Which list.")
    format = serializers.ChoiceField(choices=FileJob.Format.choices, default=FileJob.Format.CSV)
    filters = extend_schema_field(FILTERS_SCHEMA)(serializers.DictField)(
        child=FilterValueField(), required=False, default=dict
    )
    organization = TypedField(max_length=64, required=False, help_text=ORGANIZATION)


class NewImportSerializer(StrictSerializer):
    """An import, as a form with a file."""

    kind = serializers.ChoiceField(choices=[FileJob.Kind.IMPORT.value])
    table = serializers.ChoiceField(choices=sorted(RESOURCES), help_text="What its rows are.")
    dry_run = serializers.ChoiceField(
        choices=["true", "false"], default="true", help_text="Whether to say only what would change."
    )
    file = extend_schema_field(
        {"type": "string", "format": "binary", "minLength": 1, "description": "CSV in UTF-8, or XLSX; 2 MB at most."}
    )(serializers.FileField)()


class FileErrorSerializer(serializers.Serializer[Any]):
    """What is wrong."""

    row = serializers.CharField(help_text="The row of the uploaded file; empty: all of it, or of the export.")
    detail = serializers.CharField(
        help_text="In words. Of a row in the language of the request that asked for the job."
    )


class FileJobSerializer(IncludingSerializer):
    """An import or export, and how far it is."""

    related: ClassVar = ("organization", "requested_by", "requested_with")  # for select_related

    organization = serializers.CharField(
        source="organization.organization_id",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="Null: it is about several.",
    )
    filters = serializers.SerializerMethodField(help_text="As they were given.")
    is_open = serializers.SerializerMethodField(help_text="Whether it has not ended.")
    outcome = serializers.SerializerMethodField(
        help_text="Of an import: how many rows are `new`, `changed`, `unchanged` and `problems`, the heads of columns "
        "that are `ignored`, and the first 200 `changes`."
    )
    errors = serializers.SerializerMethodField(help_text="Why it failed: of an import the first 1,000 rows.")  # type: ignore[assignment]
    requested_by = serializers.CharField(source="requested_by.username", read_only=True, allow_null=True, default=None)
    requested_with = serializers.CharField(
        source="requested_with.name", read_only=True, allow_null=True, default=None, help_text="The name of an API key."
    )
    expires = serializers.SerializerMethodField(help_text="When it is deleted, with its file.")

    class Meta:
        model = FileJob
        fields = (
            "id", "organization", "kind", "table", "format", "filters", "dry_run", "status", "is_open", "done", "total",
            "outcome", "errors", "size", "request_id", "requested_by", "requested_with", "created", "started",
            "finished", "expires",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field({"type": "object", "additionalProperties": True})
    def get_filters(self, job: FileJob) -> dict[str, Any]:
        return {name: values if len(values) > 1 else values[0] for name, values in QueryDict(job.query).lists()}

    def get_is_open(self, job: FileJob) -> bool:
        return job.is_open

    @extend_schema_field({"type": "object", "additionalProperties": True})
    def get_outcome(self, job: FileJob) -> dict[str, Any]:
        return {name: value for name, value in job.outcome.items() if name not in ("is_checked", "saved")}

    @extend_schema_field(FileErrorSerializer(many=True))
    def get_errors(self, job: FileJob) -> list[dict[str, str]]:
        return [{"row": row, "detail": detail} for row, detail in wording.problems(job)]

    def get_expires(self, job: FileJob) -> datetime:
        return job.created + FILES_KEPT


class FileJobFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Which jobs."""

    organization = OrganizationIDFilter()
    kind = ChoiceFilter(choices=FileJob.Kind.choices)
    status = ChoiceFilter(choices=FileJob.Status.choices)
    created_since = SinceFilter("created")

    class Meta:
        model = FileJob
        fields = ()


EXPORT: Final = OpenApiExample(
    "All docks as CSV",
    {"kind": "export", "table": "devices", "format": "csv", "filters": {"kind": "dock"}},
    request_only=True,
    media_type="application/json",
)


class FileJobViewSet(RetrieveMixin, ListModelMixin, TenantViewSet):
    """Imports and exports that a worker carries out, of any size; they are kept for 7 days."""

    queryset = FileJob.objects.all()
    serializer_class = FileJobSerializer
    filterset_class = FileJobFilter
    parser_classes = (JSONParser, UploadParser)
    orderings = ("-created",)
    lookup_value_regex = ID_IN_PATHS
    refusing: ClassVar = ("file",)  # what only reads, and is refused until there is a file, or to others
    # The table says which role it needs.
    roles: ClassVar = {"create": Role.VIEWER, "cancel": Role.VIEWER}

    def get_queryset(self) -> QuerySet[Model]:
        mine = access.jobs(rights.in_request(self.request)).values("pk")
        return super(TenantViewSet, self).get_queryset().filter(pk__in=mine)

    def check_object_permissions(self, request: Request, obj: Model) -> None:
        """Nothing more: `get_queryset` knows who sees a job, which may be about several organizations."""

    @extend_schema(
        request={"application/json": NewExportSerializer, "multipart/form-data": NewImportSerializer},
        responses={201: FileJobSerializer},
        examples=[EXPORT],
    )
    @once
    def create(self, request: Request) -> Response:
        """Start an export (JSON) or an import (a form with a file), which is a dry run unless you say otherwise."""
        is_form = request.content_type.partition(";")[0].strip().lower() != "application/json"
        given = (NewImportSerializer if is_form else NewExportSerializer)(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = given.validated_data
        values = self._import(wanted) if is_form else self._export(wanted)
        return self.created(asking.ask(actor=actor(request), rights=rights.in_request(request), **values))

    def _export(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an export; 403 and 404 as the list itself, 400 for filters that it does not have."""
        table, held = wanted["table"], rights.in_request(self.request)
        role = exporting.view_role(table)
        organization: Organization | None = None
        if "organization" in wanted:
            organization = self.find(Organization.objects.all(), "organization", organization_id=wanted["organization"])
        if not held.may(role, organization.pk if organization else None, anywhere=organization is None):
            self.permission_denied(self.request, gettext("Your role does not allow this."))
        query = QueryDict(mutable=True)
        for name, texts in wanted["filters"].items():
            query.setlist(name, texts)
        offered = NAMED[table].filters.base_filters
        errors: dict[str, Any] = {}
        for name, texts in query.lists():
            if name not in offered:
                text = gettext("Unknown filter. Known are {names}.")
                errors[name] = [text.format(names=", ".join(sorted(offered)))]
            elif len(texts) > 1 and not isinstance(offered[name], django_filters.MultipleChoiceFilter):
                errors[name] = [gettext("Give it once: only one of several would count.")]
        filters = exporting.filters_of(table, query, self.request, held)
        errors = errors or ({} if filters.is_valid() else filters.errors)
        if errors:
            raise serializers.ValidationError({"filters": errors})
        text = urlencode(list(query.lists()), doseq=True)
        values = {"table": table, "format": wanted["format"], "query": text, "organization": organization}
        return {"kind": FileJob.Kind.EXPORT, "needed": role, **values}

    def _import(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an import; 403 for a role that may not import this, 400 for a file that cannot be read."""
        resource = RESOURCES[wanted["table"]]
        if not rights.in_request(self.request).may(resource.role, anywhere=True):
            self.permission_denied(self.request, gettext("Your role does not allow this."))
        data = wanted["file"].read()
        try:
            reading.read(data, most=resource.most)
        except reading.UnreadableError as error:
            raise serializers.ValidationError({"file": [str(error)]}) from None
        return {
            "kind": FileJob.Kind.IMPORT,
            "needed": resource.role,
            "table": resource.name,
            "format": reading.kind_of(data),
            "source": data,
            "dry_run": wanted["dry_run"] == "true",
        }

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Stop a job; 409 if it has ended. What an import has saved stays."""
        job = self.get_object()
        if not access.may_cancel(rights.in_request(request), job):
            self.permission_denied(request, gettext("Only the person who asked for it or a manager may cancel it."))
        if not asking.cancel(job):
            raise asking.Declined(409, "closed", gettext("It has ended."))
        return self.answer(self.get_queryset().get(pk=job.pk))

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        """What is downloaded is a file, whatever is asked for."""
        return super().perform_content_negotiation(request, force or self.action == "file")

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    @action(detail=True)
    def file(self, request: Request, pk: str) -> HttpResponseBase:
        """The finished file; 409 before. Codes and invitations that an import made are in it once."""
        if request.method == "HEAD":
            raise MethodNotAllowed("HEAD")  # Django leaves out the body, which would be gone
        return delivery.deliver(self.get_object(), held=rights.in_request(request), actor=actor(request))
