"""What EMQX asks: `/mqtt/auth` and `/mqtt/acl`, in the HTTP form of its version 5 (deploy/emqx/emqx.conf)."""

import hmac
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Final

import msgspec
from django.conf import settings
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_POST

from devices.broker.authentication import Client, Listener, authenticate, may
from mqtt_bridge.protocol.access import Action

HEADER: Final = "X-Mqtt-Auth-Secret"
LARGEST: Final = 2**17  # bytes of a body; the longest topic has half of that
ALLOW: Final = {"result": "allow", "is_superuser": False}
DENY: Final = {"result": "deny", "is_superuser": False}

Question = Callable[[Mapping[str, str]], dict[str, object]]
View = Callable[[HttpRequest], JsonResponse]


class MalformedError(Exception):
    """The broker asked something that its configuration here would not."""


def asked_by_broker(question: Question) -> View:
    """A view for brokers that show MQTT_AUTH_SECRET; there is none while that is not set.

    EMQX keeps what it is told in a cache of its own and looks at no caching header, so none else may keep it either. A
    status other than 200 makes it ask nobody else and refuse (`no_match`).
    """

    @wraps(question)
    @csrf_exempt
    @require_POST
    @sensitive_post_parameters()
    @sensitive_variables()
    def view(request: HttpRequest) -> JsonResponse:
        if not settings.MQTT_AUTH_SECRET:
            raise Http404
        shown = request.headers.get(HEADER, "")
        if not hmac.compare_digest(shown.encode(), settings.MQTT_AUTH_SECRET.encode()):
            return _answer({**DENY, "reason": f"{HEADER} is missing or wrong"}, status=403)
        try:
            return _answer(question(_fields(request)))
        except MalformedError as error:
            return _answer({**DENY, "reason": str(error)}, status=400)

    return view


@asked_by_broker
def auth(fields: Mapping[str, str]) -> dict[str, object]:
    """Whether a client is let in: username, password, clientid, peerhost, listener (docks, enrolment, internal)."""
    try:
        listener = Listener(fields.get("listener", ""))
    except ValueError:
        raise MalformedError(f"listener: one of {', '.join(Listener)}") from None
    username, password, client_id, address = (
        fields.get(name, "") for name in ("username", "password", "clientid", "peerhost")
    )
    admitted = authenticate(Client(username, password, client_id, address, listener))
    if admitted is None:
        return DENY
    # EMQX throws the client out then, from version 5.8 on.
    return {**ALLOW, "expire_at": int(admitted.until.timestamp())} if admitted.until else ALLOW


@asked_by_broker
def acl(fields: Mapping[str, str]) -> dict[str, object]:
    """Whether a client that was let in may do something: username, action (publish, subscribe), topic."""
    try:
        action = Action(fields.get("action", ""))
    except ValueError:
        raise MalformedError("action: publish or subscribe") from None
    return ALLOW if may(fields.get("username", ""), action, fields.get("topic", "")) else DENY


def _answer(content: dict[str, object], *, status: int = 200) -> JsonResponse:
    return JsonResponse(content, status=status, headers={"Cache-Control": "no-store"})


def _fields(request: HttpRequest) -> Mapping[str, str]:
    """The fields of a JSON object or a form; a placeholder that EMQX has no value for comes empty or "undefined"."""
    if int(request.headers.get("Content-Length") or 0) > LARGEST:
        raise MalformedError(f"body: {LARGEST} bytes at most")
    if request.content_type == "application/json":
        try:
            given: Mapping[str, object] = msgspec.json.decode(request.body, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise MalformedError("body: a JSON object or a form") from None
    else:
        given = request.POST.dict()
    fields = {name: value for name, value in given.items() if isinstance(value, str)}
    if any("\0" in value for value in fields.values()):
        raise MalformedError("NUL")
    return fields
