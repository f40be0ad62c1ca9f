"""Whether a REST request is allowed, by role."""

from typing import Protocol

from django.db import models
from django.utils.translation import gettext, gettext_lazy
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from organizations import rights
from organizations.models import Role
from organizations.tenancy import organization_of


class RoleView(Protocol):
    """A view that says which role its action needs, as every `TenantViewSet` does."""

    action: str | None

    @property
    def role(self) -> Role | None: ...


class ByRole(BasePermission):
    """401 without a caller, 403 for a role that is too low; what is not visible is 404, which the queryset decides."""

    message = gettext_lazy("Your role does not allow this.")

    def has_permission(self, request: Request, view: RoleView) -> bool:  # type: ignore[override]  # no other views
        if not (request.user and request.user.is_authenticated and request.user.is_active):
            raise NotAuthenticated(gettext("Send an API key, as `Authorization: Api-Key ...`, or sign in."))
        if view.action is None:  # 405 is more to the point
            return True
        return view.role is Role.VIEWER or rights.in_request(request).may(view.role, anywhere=True)

    def has_object_permission(self, request: Request, view: RoleView, obj: models.Model) -> bool:  # type: ignore[override]
        return rights.in_request(request).may(view.role, organization_of(obj))
