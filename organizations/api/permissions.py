"""Whether a REST request is allowed, by role."""

from typing import Any

from django.db import models
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from organizations import rights
from organizations.models import Role
from organizations.tenancy import organization_of


class ByRole(BasePermission):
    """401 for nobody, 403 for a role that is too low; what is not visible is 404, which the queryset decides."""

    message = "Your role does not allow this."

    def has_permission(self, request: Request, view: Any) -> bool:
        if not (request.user and request.user.is_authenticated and request.user.is_active):
            raise NotAuthenticated("Send an API key, as `Authorization: Api-Key ...`, or sign in.")
        if view.action is None:  # 405 is more to the point
            return True
        return bool(view.role is Role.VIEWER or rights.in_request(request).may(view.role, anywhere=True))

    def has_object_permission(self, request: Request, view: Any, obj: models.Model) -> bool:
        return rights.in_request(request).may(view.role, organization_of(obj))
