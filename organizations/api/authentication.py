"""Who sends a REST request: an API key, or the user of a session."""

from django.utils.translation import gettext
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied, Throttled
from rest_framework.request import Request
from rest_framework_api_key.permissions import KeyParser

from cloudapi.rest.guesses import TooManyTriesError
from organizations import api_keys
from organizations.models import OrganizationAPIKey


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Api-Key ...`; the key is `request.user` and `request.auth`."""

    def authenticate(self, request: Request) -> tuple[OrganizationAPIKey, OrganizationAPIKey] | None:
        plain = KeyParser().get(request)
        if plain is None:
            return None
        try:
            key = api_keys.recognise(plain, address=request.META.get("REMOTE_ADDR", ""))
        except TooManyTriesError as error:
            raise Throttled(error.wait, gettext("Too many wrong API keys were sent from this address.")) from None
        if key is None:
            raise AuthenticationFailed(gettext("This API key is not known, has expired or was revoked."))
        api_keys.note_use(key)
        return key, key

    def authenticate_header(self, request: Request) -> str:
        """What 401 answers name in `WWW-Authenticate`."""
        return "Api-Key"


class BySession(SessionAuthentication):
    """The session of the admin."""

    def enforce_csrf(self, request: Request) -> None:
        try:
            super().enforce_csrf(request)
        except PermissionDenied as error:  # which says why in English
            raise PermissionDenied(gettext("With a session, send its CSRF token, as `X-CSRFToken: ...`.")) from error
