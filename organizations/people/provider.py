"""Sign-in through an identity provider: OpenID Connect, the authorization code flow with PKCE.

It opens an account that exists, found by an email address that the provider has verified. It makes no account and
gives no right: new people come by invitation (organizations/invitations.py).
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.django_client import DjangoOAuth2App, OAuth
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from joserfc.errors import JoseError
from requests import RequestException

from organizations.language.stored import english

logger = logging.getLogger(__name__)

NEXT: Final = "provider_next"  # where a session keeps the page that its user wants
TIMEOUT: Final = 10.0  # seconds, of each request to the provider
BUSY: Final = 3.0  # seconds that a request waits for its turn
# A provider that hangs takes a quarter of the threads of a web process at most.
_turns: Final = threading.BoundedSemaphore(max(1, settings.WEB_THREADS // 4))


class RefusedError(Exception):
    """The provider's answer opens nothing; says why, for the person."""


def is_configured() -> bool:
    """Whether there is a provider."""
    return bool(settings.OIDC_ISSUER)


def send_there(request: HttpRequest, next_url: str) -> HttpResponse:
    """Send the browser to the provider, which sends it back to `from_provider`. Raises RefusedError."""
    request.session[NEXT] = next_url
    # Not the address of the request, whose Host anybody may write.
    back = settings.PUBLIC_URL + reverse("from_provider")
    try:
        with _turn():
            response: HttpResponse = _client().authorize_redirect(request, back)
    except (OAuthError, RequestException, RuntimeError, ValueError) as error:
        raise _refused(_("The identity provider does not answer. Try again later."), error) from error
    return response


def who_returned(request: HttpRequest) -> tuple[User, str]:
    """The user whom the provider vouches for, and the page that they want. Raises RefusedError."""
    next_url = str(request.session.pop(NEXT, reverse("admin:index")))
    client = _client()
    try:
        with _turn():
            issuer = client.load_server_metadata().get("issuer", "")
            options = {"iss": {"essential": True, "value": issuer}}
            token = client.authorize_access_token(request, claims_options=options, leeway=60)
            claims = dict(token.get("userinfo") or {})
            if claims and "email" not in claims:
                more = client.userinfo(token=token)
                claims |= more if more.get("sub") == claims.get("sub") else {}
    except (OAuthError, JoseError, RequestException, RuntimeError, ValueError) as error:
        raise _refused(_("The identity provider did not confirm who you are. Try again."), error) from error
    if not claims or issuer.rstrip("/") != settings.OIDC_ISSUER:
        raise _refused(_("The identity provider did not confirm who you are. Try again."), f"issuer {issuer!r}")
    return _account(claims), next_url


def _account(claims: dict[str, object]) -> User:
    """The one account with this address."""
    address, is_verified = str(claims.get("email") or ""), claims.get("email_verified")
    if not address or is_verified not in (True, "true"):
        raise _refused(_("The identity provider has not verified your email address."), claims.get("sub"))
    users = get_user_model().objects.filter(email__iexact=address, is_active=True, is_staff=True)
    # In capitals "ı" is "i", and that mailbox is somebody else's: for us only ASCII has capitals.
    folded = address.encode(errors="replace").lower()
    found: list[User] = [user for user in users if user.email.encode().lower() == folded]
    if len(found) != 1:
        text = _("No accounts here have the address {address}. Ask the platform's staff.")
        if found:
            text = _("{count} accounts here have the address {address}. Ask the platform's staff.")
        raise _refused(text.format(count=len(found), address=address), claims.get("sub"))
    return found[0]


@contextmanager
def _turn() -> Iterator[None]:
    """Wait until few enough others ask the provider. Raises RefusedError if it takes too long."""
    if not _turns.acquire(timeout=BUSY):
        raise _refused(_("Too many people sign in at the same time. Try again."), "busy")
    try:
        yield
    finally:
        _turns.release()


def _refused(text: str | Promise, why: object) -> RefusedError:
    logger.warning("A sign-in through the identity provider was refused: %s (%s)", english(text), why)
    return RefusedError(text)


def _client() -> DjangoOAuth2App:
    return _registered(settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET)


@lru_cache(maxsize=1)
def _registered(issuer: str, client_id: str, client_secret: str) -> DjangoOAuth2App:
    """The client, which keeps the provider's addresses and keys once it has read them."""
    return OAuth().register(
        "provider",
        client_id=client_id,
        client_secret=client_secret,
        server_metadata_url=f"{issuer}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid email", "code_challenge_method": "S256", "default_timeout": TIMEOUT},
    )
