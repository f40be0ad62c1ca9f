"""Settings of the REST API: of REST framework, and what the OpenAPI document says about the API as a whole."""

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "organizations.api.authentication.ApiKeyAuthentication",
        "organizations.api.authentication.BySession",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["organizations.api.permissions.ByRole"],
    "DEFAULT_THROTTLE_CLASSES": ["cloudapi.rest.rate_limit.PerMinute"],
    "DEFAULT_RENDERER_CLASSES": ["cloudapi.rest.rendering.EnglishJSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["cloudapi.rest.parsing.JSONParser"],
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "organizations.api.filters.SearchFilter",
    ],
    "DEFAULT_PAGINATION_CLASS": "cloudapi.rest.pagination.KeysetPagination",
    "DEFAULT_SCHEMA_CLASS": "cloudapi.rest.schema.Schema",
    "EXCEPTION_HANDLER": "cloudapi.rest.problems.handle",
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Dock cloud",
    "DESCRIPTION": (
        "Docks, their unlock licenses, and commands to them.\n\n"
        "A manager makes a key in the admin, under *API keys*; send it with each request as "
        "`Authorization: Api-Key ...`. A command is a `POST` to `service-calls/`; give it an `Idempotency-Key` if you "
        "may have to send it again. Read its progress at its address, with `?wait=10`, or follow it over WebSocket. "
        "Errors are problems of RFC 9457. Each address ends with a slash.\n\n"
        "In the sources, `docs/integrators.md` leads from a key to the first command and lists the `data` of each "
        "service; `docs/live.md` describes the frames of the sockets."
    ),
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "LICENSE": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
    "ENUM_NAME_OVERRIDES": {
        "ServiceCallStatus": "devices.models.ServiceCall.Status",
        "AccountStatus": "devices.models.DeviceAccount.Status",
        "BrokerAccountKind": "devices.models.BrokerAccount.Kind",
    },
    "SERVERS": [{"url": "/", "description": "Where this document comes from."}],
    "TAGS": [
        {"name": "binding-codes", "description": "What a technician types beside a dock to bind it."},
        {"name": "broker-accounts", "description": "What docks show the broker to be let in."},
        {"name": "devices", "description": "Docks, aircraft and remote controllers."},
        {"name": "file-jobs", "description": "Lists as files, and files with rows to import."},
        {"name": "license-files", "description": "Offline license files that docks fetch."},
        {"name": "licenses", "description": "Unlock licenses, as docks reported them."},
        {"name": "organizations", "description": "Owners of devices."},
        {"name": "service-call-batches", "description": "One command to many docks."},
        {"name": "service-calls", "description": "Commands to docks, and what became of them."},
    ],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "cloudapi.rest.schema.finish",
    ],
}
