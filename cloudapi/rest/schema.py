"""The OpenAPI document: what drf-spectacular reads from the code, with errors, headers and links beside it."""

import json
from typing import Any, Final

from drf_spectacular.authentication import SessionScheme
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework.permissions import SAFE_METHODS

from cloudapi.rest.problems import MEDIA_TYPE, problem

PROBLEM: Final = {
    "type": "object",
    "description": "What is wrong, as of RFC 9457. Programs look at `type`, people at `detail`.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["urn:dock-cloud:problem:offline"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "examples": ["This dock is offline."]},
        "errors": {
            "type": "array",
            "description": "Every mistake in the request, with its place.",
            "items": {
                "type": "object",
                "required": ["code", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "In the body, as of RFC 6901."},
                    "parameter": {"type": "string", "description": "Of the query."},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
ANSWERS: Final = {
    400: "The request is wrong: `errors` names every mistake.",
    401: "No API key and no session, or one that is no longer good.",
    403: "The role is too low, or a session came without CSRF token.",
    404: "Not there, or not for whoever asks; which of the two is not told.",
    406: "Only JSON is to be had.",
    409: "The present state forbids it, such as a dock that is offline, or a request with the same key is running.",
    412: "It has changed since it was read.",
    413: "The body is too large.",
    415: "The body is of another media type.",
    422: "This `Idempotency-Key` came with another request before.",
    429: "Too many requests in this minute.",
    503: "No worker sends commands here.",
}
SAMPLES: Final = {  # a `type` of each status
    400: "invalid",
    401: "not_authenticated",
    403: "permission_denied",
    404: "not_found",
    406: "not_acceptable",
    409: "offline",
    412: "precondition_failed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "idempotency_key_reused",
    429: "throttled",
    503: "unavailable",
}
HEADERS: Final = {
    "RateLimit-Limit": {"description": "Requests in a minute.", "schema": {"type": "integer"}},
    "RateLimit-Remaining": {"description": "How many of them are left.", "schema": {"type": "integer"}},
    "RateLimit-Reset": {"description": "Seconds until the next minute begins.", "schema": {"type": "integer"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "What may be shown.", "schema": {"type": "string"}},
    "ETag": {"description": "Of this representation.", "schema": {"type": "string"}},
    "Idempotency-Replayed": {"description": "`true`: this was answered before.", "schema": {"type": "string"}},
    "Location": {"description": "Where it is.", "schema": {"type": "string", "format": "uri-reference"}},
}
RATE: Final = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
UNCOUNTED: Final = (401, 403, 406)  # refused before they are counted
MORE_HEADERS: Final = {401: ("WWW-Authenticate",), 429: ("Retry-After",)}
SUMMARIES: Final = {
    "list": "List {many}",
    "retrieve": "Read one {one}",
    "create": "Make one {one}",
    "partial_update": "Change one {one}",
    "destroy": "Delete one {one}",
}
SHARED: Final = ("responses", "headers", "schemas")
TEXT: Final = {"type": "string", "pattern": "^[^\\u0000]*$"}  # no database takes NUL
WORDS: Final = {"type": "string", "pattern": "^[^\\u0000]+$"}
# Headers of requests: name, type, words.
IF_NONE_MATCH: Final = ("If-None-Match", str, "An `ETag` that you have: 304 if nothing has changed.")
IF_MATCH: Final = ("If-Match", str, "The `ETag` that you know: 412 if it has changed since.")
IDEMPOTENCY_KEY: Final = (
    "Idempotency-Key",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "New for each thing that you want done. The same request with the same key gets the same answer for 24 hours.",
)


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """`Authorization: Api-Key ...`."""

    target_class = "organizations.api.authentication.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Api-Key ` and the key, which a manager makes in the admin.",
        }


class BySessionScheme(SessionScheme):  # type: ignore[no-untyped-call]
    """The session of the admin."""

    target_class = "organizations.api.authentication.BySession"


class Schema(AutoSchema):
    """One operation, with the errors that it may answer."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        parameters = operation.get("parameters", [])
        filters = getattr(getattr(self.view, "filterset_class", None), "base_filters", {})
        if not getattr(self.view, "search_fields", None) and "search" not in filters:
            # REST framework says of every list that it can be searched.
            parameters[:] = [parameter for parameter in parameters if parameter["name"] != "search"]
        for parameter in parameters:
            if parameter["in"] == "query" and parameter["schema"] == {"type": "string"}:
                parameter["schema"] = WORDS
        answers = operation["responses"]
        for code, answer in answers.items():
            headers = [*RATE, *(["Location"] if code == "201" else []), *(["ETag"] if self._has_tag() else [])]
            headers += ["Idempotency-Replayed"] if self._is_repeatable() else []
            answer.setdefault("headers", {}).update({name: _ref("headers", name) for name in headers})
        if self._has_tag() and self.method == "GET":
            answers["304"] = {"description": "As you have it.", "headers": {"ETag": _ref("headers", "ETag")}}
        codes = [400, 401, 404, 406, 429]
        is_refused = getattr(self.view, "action", "") in getattr(self.view, "refusing", ())
        codes += [403, 409] if self.method not in SAFE_METHODS or is_refused else []
        codes += [403] if getattr(self.view, "view_role", "viewer") != "viewer" else []  # to read needs more
        codes += [413, 415] if "requestBody" in operation else []
        codes += [412] if self._is_conditional() else []
        codes += [422, 503] if self._is_repeatable() else []
        for code in codes:
            answers.setdefault(str(code), _ref("responses", f"Problem{code}"))
        operation["responses"] = dict(sorted(answers.items()))
        return operation

    def get_summary(self) -> str:
        """What the action does; of one that is no usual one the first line of its docstring."""
        given = super().get_summary()
        action = getattr(self.view, "action", "")
        if given or action not in SUMMARIES:
            return str(given or self.get_description().partition("\n")[0].rstrip("."))
        view: Any = self.view
        names = view.queryset.model._meta
        return SUMMARIES[action].format(one=names.verbose_name, many=names.verbose_name_plural)

    def get_override_parameters(self) -> list[Any]:
        found = list(super().get_override_parameters())
        offered = self.view.offered() if hasattr(self.view, "offered") else {}
        if offered and self.method in SAFE_METHODS:
            names = {"type": "array", "items": {"type": "string", "enum": list(offered)}}
            found.append(
                OpenApiParameter("include", names, description="Data to show as well.", style="form", explode=False)
            )
        headers: list[tuple[str, Any, str]] = [IF_NONE_MATCH] if self._has_tag() and self.method == "GET" else []
        headers += [IF_MATCH] if self._is_conditional() else []
        headers += [IDEMPOTENCY_KEY] if self._is_repeatable() else []
        return found + [
            OpenApiParameter(name, schema, OpenApiParameter.HEADER, description=words)
            for name, schema, words in headers
        ]

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> dict[str, Any]:
        """With what is shown only when asked for, which is not required."""
        serializer.context["include"] = getattr(serializer, "includes", ())
        schema: dict[str, Any] = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if included := getattr(serializer, "includes", {}):
            schema["required"] = [name for name in schema.get("required", ()) if name not in included]
        return schema

    def _has_tag(self) -> bool:
        return getattr(self.view, "action", "") in ("retrieve", "partial_update", "create")

    def _is_conditional(self) -> bool:
        """Whether it does something to one row, which may have changed since the client read it."""
        return self.method not in SAFE_METHODS and bool(getattr(self.view, "detail", False))

    def _is_repeatable(self) -> bool:
        action = getattr(self.view, getattr(self.view, "action", None) or "", None)
        return getattr(action, "takes_idempotency_key", False)


def finish(result: dict[str, Any], **_more: Any) -> dict[str, Any]:
    """What operations share, in one place."""
    parts = result["components"]
    _say_null(parts["schemas"])
    parts["schemas"]["Problem"] = PROBLEM
    parts["headers"] = HEADERS
    for name, schema in parts["schemas"].items():
        for variant in schema.get("oneOf", [schema]):
            if name.endswith("Request") and variant.get("type") == "object":
                variant["additionalProperties"] = False
                for field in variant.get("properties", {}).values():
                    if field.get("type") == "string" and not {"enum", "format", "pattern"} & set(field):
                        field |= TEXT
    for code, words in ANSWERS.items():
        headers = [*(() if code in UNCOUNTED else RATE), *MORE_HEADERS.get(code, ())]
        sample = {"schema": _ref("schemas", "Problem"), "example": problem(code, SAMPLES[code], words)}
        parts.setdefault("responses", {})[f"Problem{code}"] = {
            "description": words,
            "headers": {name: _ref("headers", name) for name in headers},
            "content": {MEDIA_TYPE: sample},
        }
    _link(result["paths"])
    _drop_unused(result)
    return result


def _link(paths: dict[str, Any]) -> None:
    """From what lists and creations answer to what can be done with one of the rows."""
    for base, operations in paths.items():
        targets = [(path, one) for path, ones in paths.items() if path.startswith(f"{base}{{") for one in ones.values()]
        for method, code, place in (("get", "200", "/results/0"), ("post", "201", "")):
            # An import answers what it made, with 200, in no list of rows.
            if "{" in base or code not in operations.get(method, {}).get("responses", ()):
                continue
            operations[method]["responses"][code]["links"] = {
                target["operationId"]: {
                    "operationId": target["operationId"],
                    "parameters": {_parameter(path): f"$response.body#{place}/{_parameter(path)}"},
                }
                for path, target in targets
            }


def _parameter(path: str) -> str:
    """The name of the one parameter in a path, which is a field of the row that it names, too."""
    return path.partition("{")[2].partition("}")[0]


def _say_null(node: Any) -> None:
    """Write what may be null as OpenAPI 3.1 does; drf-spectacular writes it as 3.0 did for typed dictionaries."""
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _say_null(inner)
    if isinstance(node, dict) and node.get("nullable") is True and "type" in node:
        del node["nullable"]
        node["type"] = [node["type"], "null"]


def _drop_unused(result: dict[str, Any]) -> None:
    """Leave out parts that nothing names, until each is named by something that stays."""
    parts = result["components"]
    while True:
        document = json.dumps(result, default=str)  # some words are translated only when they are written
        unused = [(kind, name) for kind in SHARED for name in parts[kind] if f'/{kind}/{name}"' not in document]
        if not unused:
            return
        for kind, name in unused:
            del parts[kind][name]


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}
