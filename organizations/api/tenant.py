"""REST routes of rows that belong to organizations: which rows, and which role for what.

The rest of what they share knows no organization: `cloudapi/rest/` has `parameters`, `including` and `conditional`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from django.db import models, transaction
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from cloudapi.rest.conditional import ConditionalViewSet
from cloudapi.rest.parameters import ParametersViewSet
from organizations import audit, rights
from organizations.audit import Actor
from organizations.models import AuditEvent, Organization, OrganizationAPIKey, Role
from organizations.tenancy import M, organization_of, restrict

NONE_LIKE_THIS = gettext_lazy("Not found.")


def actor(request: Request) -> Actor:
    """Who acts in this request; the same for the whole request, so that its audit rows share their id."""
    if not hasattr(request, "actor"):
        key = request.auth if isinstance(request.auth, OrganizationAPIKey) else None
        user = None if key or not request.user.is_authenticated else request.user
        request.actor = Actor(AuditEvent.Through.API, user=user, key=key)  # type: ignore[attr-defined]
    found: Actor = request.actor  # type: ignore[attr-defined]
    return found


class TenantViewSet(ParametersViewSet, ConditionalViewSet):
    """The rows that the caller may see; `roles` says which role each action needs.

    Reading needs `view_role`; an action that is not named is for platform staff (None).
    """

    view_role: ClassVar[Role | None] = Role.VIEWER
    roles: ClassVar[Mapping[str, Role | None]] = {}
    orderings: ClassVar[Sequence[str]] = ("id",)  # fields that a list may be ordered by; the first is the default
    field_roles: ClassVar[Mapping[str, Role | None]] = {}  # fields that need more than the role of the action

    @property
    def role(self) -> Role | None:
        """The lowest role that may do what is asked for."""
        return self.view_role if self.request.method in SAFE_METHODS else self.roles.get(self.action)

    def get_queryset(self) -> models.QuerySet[models.Model]:
        return rights.in_request(self.request).readable(super().get_queryset(), self.view_role)

    def require(self, role: Role | None, organization_id: int | None) -> None:
        """403 unless the caller has this role in that organization."""
        if not rights.in_request(self.request).may(role, organization_id):
            self.permission_denied(self.request, gettext("Your role in this organization does not allow this."))

    def locked(self) -> Any:
        """The object, with its row locked until the transaction ends: for a change in place."""
        found = self.get_object()
        # Apart, because a query that joins nullable rows cannot lock.
        type(found)._base_manager.select_for_update(no_key=True).filter(pk=found.pk).values_list("pk").first()
        return self.get_object()

    def find(self, rows: models.QuerySet[M], field: str = "", **lookup: str) -> M:
        """The row that a request names in its body, of those that the caller may see; else 404, naming the field.

        The field is named as in the lookup unless `field` says otherwise. The error asks a caller who mistook the case
        of letters whether another row was meant, which they may see.
        """
        visible = restrict(rows, self.request.user)
        found = visible.filter(**lookup).first()
        if found is None:
            similar = visible.filter(**{f"{name}__iexact": text for name, text in lookup.items()})
            meant = similar.values_list(*lookup).first()
            text = str(NONE_LIKE_THIS)
            if meant:
                text = gettext("Not found. Did you mean {name}?").format(name=meant[0])
            names = [field] if field else [name.partition("__")[0] for name in lookup]
            raise NotFound({name: [text] for name in names})
        return found

    def organization(self, given: str | None, role: Role) -> Organization:
        """The organization that a body names as `organization`, in which the caller must have this role.

        If none is named: the only one in which the caller has it. 404, 403, or 400 if there is no only one.
        """
        rows = Organization.objects.filter(closed_at=None)
        if given is None:
            held = rights.in_request(self.request).readable(rows, role)[:2]
            if len(held) != 1:
                raise serializers.ValidationError({"organization": [gettext("Say which organization.")]}, "required")
            return held[0]
        found = self.find(rows, "organization", organization_id=given)
        self.require(role, found.pk)
        return found

    def finalize_response(self, request: Request, response: Response, *args: object, **kwargs: object) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        for name, value in getattr(self.request, "rate_limit", {}).items():
            response[name] = value
        response.setdefault("Cache-Control", "private, no-cache")
        patch_vary_headers(response, ("Authorization",))
        return response


class RetrieveMixin(TenantViewSet):
    """`GET` of one row."""

    def retrieve(self, request: Request, *args: object, **kwargs: object) -> Response:
        return self.answer(self.get_object())


class PatchMixin(TenantViewSet):
    """`PATCH` of the serializer's writable fields, audited."""

    @transaction.atomic
    @sensitive_variables()
    def partial_update(self, request: Request, *args: object, **kwargs: object) -> Response:
        row = self.locked()
        for name in self.field_roles.keys() & (request.data if isinstance(request.data, Mapping) else ()):
            # Before the value is looked at: an error would tell the caller something about it.
            self.require(self.field_roles[name], organization_of(row))
        serializer = self.get_serializer(row, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        changed = {name: value for name, value in serializer.validated_data.items() if getattr(row, name) != value}
        if changed:
            # As the API calls them: what a property of the row is called is known to nobody else.
            fields = cast("serializers.Serializer[Any]", serializer).fields
            names = {field.source: name for name, field in fields.items()}
            before = audit.writable({names[name]: getattr(row, name) for name in changed})
            serializer.save()
            owner, after = organization_of(row), audit.writable({names[name]: value for name, value in changed.items()})
            audit.record(
                [audit.event(actor(request), "change", row, organization_id=owner, before=before, after=after)]
            )
            self.changed(row)
        return self.answer(row)

    def changed(self, row: Any) -> None:
        """What else follows from a change of this row."""
