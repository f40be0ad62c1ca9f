"""The REST door to rows that belong to organizations: which rows, which role, which tag, which related data."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import django_filters
from django.db import transaction
from django.utils.cache import patch_vary_headers
from django.utils.http import parse_etags, quote_etag
from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder
from rest_framework.viewsets import GenericViewSet

from organizations import audit, rights
from organizations.audit import Actor
from organizations.models import AuditEvent, Organization, OrganizationAPIKey, Role
from organizations.serializers import Include
from organizations.tenancy import organization_of, restrict

NONE_LIKE_THIS = "There is none like this."
INCLUDE = "include"  # the query parameter that asks for related data


def actor(request: Request) -> Actor:
    """Who acts in this request; the same for the whole request, so that its audit rows share their id."""
    if not hasattr(request, "actor"):
        key = request.auth if isinstance(request.auth, OrganizationAPIKey) else None
        user = None if key or not request.user.is_authenticated else request.user
        request.actor = Actor(AuditEvent.Through.API, user=user, key=key)  # type: ignore[attr-defined]
    found: Actor = request.actor  # type: ignore[attr-defined]
    return found


class PreconditionFailed(APIException):
    """The row is no longer as the client knew it."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_detail = "It has changed since you read it: read it again."
    default_code = "precondition_failed"


def tag_of(data: Mapping[str, Any], passing: Collection[str] = ()) -> str:
    """A strong ETag of what a serializer gave: as long as it stays, so does every byte.

    Its first half is of what remains without these fields.
    """
    lasting = {name: value for name, value in data.items() if name not in passing}
    return quote_etag(f"{_digest(lasting)}-{_digest(data)}")


def _digest(data: Any) -> str:
    text = json.dumps(data, cls=JSONEncoder)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


class TenantViewSet(GenericViewSet[Any]):
    """Rows that whoever asks may see; `roles` says from which role on somebody may do an action.

    What is read needs `view_role`; an action that is not named is for platform staff (None).
    """

    filterset_class: ClassVar[Any] = None
    view_role: ClassVar[Role | None] = Role.VIEWER
    roles: ClassVar[Mapping[str, Role | None]] = {}
    orderings: ClassVar[Sequence[str]] = ("id",)  # fields that a list may be ordered by; the first is the default
    field_roles: ClassVar[Mapping[str, Role | None]] = {}  # fields that need more than the role of the action
    deferred: ClassVar[Mapping[str, str]] = {}  # what is not read unless that data is included: column -> include
    parameters: ClassVar[frozenset[str]] = frozenset()  # query parameters of its own

    @property
    def role(self) -> Role | None:
        """From which role on somebody may do what is asked for."""
        return self.view_role if self.request.method in SAFE_METHODS else self.roles.get(self.action)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """As usual, and no parameter is ignored: a misspelt filter would show everything."""
        super().initial(request, *args, **kwargs)
        if self.action is not None:  # 405 is more to the point
            self._check_parameters()

    def _check_parameters(self) -> None:
        known = self._known_parameters()
        offer = f"There is: {', '.join(sorted(known))}." if known else "There is none."
        filters = getattr(self.filterset_class, "base_filters", {})
        errors = {}
        for name, values in self.request.query_params.lists():
            if name not in known:
                errors[name] = [f"No such parameter here. {offer}"]
            elif "" in values and name != INCLUDE:
                errors[name] = ["Give it a value, or leave it out."]
            elif len(values) > 1 and not isinstance(filters.get(name), django_filters.MultipleChoiceFilter):
                errors[name] = ["Give it once: of several only one would count."]
        if errors:
            raise serializers.ValidationError(errors)

    def _known_parameters(self) -> set[str]:
        known = {*self.parameters, *([INCLUDE] if self.offered() else [])}
        if self.action == "list":
            pages: Any = self.paginator
            known |= pages.parameters | set(getattr(self.filterset_class, "base_filters", ()))
            known |= {"search"} if getattr(self, "search_fields", None) else set()
        return known

    def get_queryset(self) -> Any:
        rows = rights.in_request(self.request).readable(super().get_queryset(), self.view_role)
        offered, asked = self.offered(), self.included()
        related = list(getattr(self.get_serializer_class(), "related", ()))
        related += [path for name in asked for path in offered[name].select]
        rows = rows.prefetch_related(*(path for name in asked for path in offered[name].prefetch))
        if related:  # without a name Django would follow every relation
            rows = rows.select_related(*related)
        return rows.defer(*(column for column, name in self.deferred.items() if name not in asked))

    def offered(self) -> Mapping[str, Include]:
        """What may be included in an answer to this request."""
        found: Mapping[str, Include] = getattr(self.get_serializer_class(), "includes", {})
        return {name: include for name, include in found.items() if self.detail or not include.is_heavy}

    def included(self) -> list[str]:
        """The data that the request asks for; ValidationError for a name that is not offered."""
        offered = self.offered()
        asked = list(dict.fromkeys(filter(None, self.request.query_params.get(INCLUDE, "").split(","))))
        if strange := [name for name in asked if name not in offered]:
            raise serializers.ValidationError(
                {INCLUDE: [f"There is no {strange[0][:40]!r} here; there is: {', '.join(offered) or 'nothing'}."]}
            )
        return asked

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "include": self.included() if self.request else ()}

    def get_object(self) -> Any:
        """As usual; the `If-Match` of a request that changes it must name what is there."""
        found = super().get_object()
        wanted = parse_etags(self.request.headers.get("If-Match") or "*")
        if self.request.method in SAFE_METHODS or "*" in wanted:
            return found
        # The first half of a tag: a dock that is heard from every few seconds is no other dock.
        tag = self._tag(self.get_serializer(found).data)
        if tag.partition("-")[0] not in {known.partition("-")[0] for known in wanted}:
            raise PreconditionFailed
        return found

    def _tag(self, data: Mapping[str, Any]) -> str:
        shown: Any = self.get_serializer_class()
        return tag_of(data, {*getattr(shown, "fleeting", ()), *getattr(shown, "includes", ())})

    def locked(self) -> Any:
        """The object, with its row locked until the transaction ends: for whoever changes it in place."""
        found = self.get_object()
        # Apart, because a query that joins nullable rows cannot lock.
        type(found)._base_manager.select_for_update(no_key=True).filter(pk=found.pk).values_list("pk").first()
        return self.get_object()

    def find(self, rows: Any, field: str = "", **lookup: Any) -> Any:
        """The row that a request names in its body, of those that whoever asks may see; else 404, naming the field.

        It is named as in the lookup unless `field` says otherwise.
        """
        found = restrict(rows, self.request.user).filter(**lookup).first()
        if found is None:
            meant = self._meant(rows, **lookup)
            names = [field] if field else [name.partition("__")[0] for name in lookup]
            raise NotFound({name: [f"{NONE_LIKE_THIS}{meant}"] for name in names})
        return found

    def _meant(self, rows: Any, **lookup: str) -> str:
        """A question for who mistook the case of letters, about a row that they may see; else ""."""
        known = restrict(rows, self.request.user).filter(**{f"{name}__iexact": text for name, text in lookup.items()})
        found = known.values_list(*lookup).first()
        return f" Did you mean {found[0]}?" if found else ""

    def organization(self, given: str | None, role: Role) -> Organization:
        """The organization that a body names as `organization`, in which whoever asks must have this role.

        One that is not named is the only one in which whoever asks has it. 404, 403, or 400 if there is no only one.
        """
        rows = Organization.objects.all()
        if given is None:
            held = rights.in_request(self.request).readable(rows, role)[:2]
            if len(held) != 1:
                raise serializers.ValidationError({"organization": ["Say which organization."]}, "required")
            only: Organization = held[0]
            return only
        found: Organization = self.find(rows, "organization", organization_id=given)
        self.require(role, found.pk)
        return found

    def require(self, role: Role | None, organization_id: int | None) -> None:
        """403 unless whoever asks has this role in that organization."""
        if not rights.in_request(self.request).may(role, organization_id):
            self.permission_denied(self.request, "Your role in this organization does not allow this.")

    def answer(self, row: Any, code: int = status.HTTP_200_OK) -> Response:
        """One row, with its tag; 304 if the client has it already."""
        data = self.get_serializer(row).data
        tag = self._tag(data)
        # Weak ones too: a proxy that compresses makes them of ours.
        known = [known.removeprefix("W/") for known in parse_etags(self.request.headers.get("If-None-Match", ""))]
        if self.request.method in SAFE_METHODS and (tag in known or "*" in known):
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers={"ETag": tag})
        return Response(data, code, headers={"ETag": tag})

    def created(self, row: Any) -> Response:
        """A row that was just made, as it is read at its address."""
        response = self.answer(self.get_queryset().get(pk=row.pk), status.HTTP_201_CREATED)
        response["Location"] = self.reverse_action("detail", [getattr(row, self.lookup_field)])
        return response

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        for name, value in getattr(self.request, "rate_limit", {}).items():
            response[name] = value
        response.setdefault("Cache-Control", "private, no-cache")
        patch_vary_headers(response, ("Authorization",))
        return response


class RetrieveMixin:
    """`GET` of one row."""

    def retrieve(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        answer: Response = self.answer(self.get_object())
        return answer


class PatchMixin:
    """`PATCH` of the serializer's writable fields, audited."""

    @transaction.atomic
    @sensitive_variables()
    def partial_update(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        row = self.locked()
        for name in self.field_roles.keys() & (request.data if isinstance(request.data, Mapping) else ()):
            self.require(self.field_roles[name], organization_of(row))  # before the value is looked at: it would tell
        serializer = self.get_serializer(row, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        changed = {name: value for name, value in serializer.validated_data.items() if getattr(row, name) != value}
        if changed:
            before = {name: getattr(row, name) for name in changed}
            serializer.save()
            told = {"before": audit.writable(before), "after": audit.writable(changed)}
            owner = organization_of(row)
            audit.record([audit.event(actor(request), "change", row, organization_id=owner, **told)])
            self.changed(row)
        answer: Response = self.answer(row)
        return answer

    def changed(self, row: Any) -> None:
        """What else a change of this row brings with it."""
