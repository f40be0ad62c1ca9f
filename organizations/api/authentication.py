"""Who sends a REST request, if it is no user with a session: an API key."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
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
            raise Throttled(error.wait, "Too many wrong API keys were sent from this address.") from None
        if key is None:
            raise AuthenticationFailed("This API key is not known, has expired or was revoked.")
        api_keys.note_use(key)
        return key, key

    def authenticate_header(self, request: Request) -> str:
        """What 401 answers name in `WWW-Authenticate`."""
        return "Api-Key"
