"""Settings, from the environment (names: docs/configuration.md). Development needs DEBUG=true and nothing else."""

import base64
import hashlib
from pathlib import Path

import environ
from csp.constants import SELF

from cloudapi.api_document import REST_FRAMEWORK as REST_FRAMEWORK
from cloudapi.api_document import SPECTACULAR_SETTINGS as SPECTACULAR_SETTINGS
from cloudapi.celery_settings import *  # noqa: F403  # what no variable changes
from cloudapi.environment import (
    address,
    certificates,
    choice,
    client_id,
    fernet_keys,
    flag,
    host,
    hosts,
    listener,
    number,
    required,
    secret_key,
    text,
    tile_origins,
    with_,
)
from cloudapi.monitoring.log_settings import log_settings

BASE_DIR = Path(__file__).resolve().parent.parent

# --- secrets and hosts -------------------------------------------------------------------------

DEBUG = flag("DEBUG", default=False)
SECRET_KEY = secret_key("SECRET_KEY", required("SECRET_KEY", development="for development only, never in production"))
# Keys that were in force before: their sessions and signed addresses stay valid, their binding codes do not.
SECRET_KEY_FALLBACKS = [
    secret_key("SECRET_KEY_FALLBACKS", key) for key in text("SECRET_KEY_FALLBACKS").split(",") if key
]
# Fernet keys, newest first: the first encrypts, all decrypt. Made with
# `python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"`.
_key = base64.urlsafe_b64encode(hashlib.sha256(SECRET_KEY.encode()).digest()).decode()
FIELD_ENCRYPTION_KEYS = fernet_keys("FIELD_ENCRYPTION_KEYS", required("FIELD_ENCRYPTION_KEYS", development=_key))
PUBLIC_URL = address(
    "PUBLIC_URL", required("PUBLIC_URL", development="http://127.0.0.1:8000").rstrip("/"), schemes="https http"
)
ALLOWED_HOSTS = hosts("ALLOWED_HOSTS", required("ALLOWED_HOSTS", development="127.0.0.1,localhost,[::1]"))
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]

# --- applications ------------------------------------------------------------------------------

INSTALLED_APPS = [
    "cloudapi",
    "licenses",
    "devices",
    "organizations",
    "mqtt_bridge",
    "cloudapi.admin.app.DockCloudAdminConfig",  # django.contrib.admin with our site
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "rest_framework",
    "rest_framework_api_key",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "cloudapi.web.headers.middleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "organizations.people.sessions.SessionMiddleware",
    "organizations.language.middleware.Middleware",  # language and zone: the person's, else the browser's
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "cloudapi.web.answers.middleware",
    "cloudapi.web.sign_in.Middleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "cloudapi.urls"
ASGI_APPLICATION = "cloudapi.asgi.application"
WEB_THREADS = number("WEB_THREADS", default=16)
SOCKET_THREADS = number("SOCKET_THREADS", default=4)
SOCKETS = number("SOCKETS", default=5000)  # of one web process
SOCKETS_PER_ADDRESS = number("SOCKETS_PER_ADDRESS", default=1000)  # of one client address in one web process
SOCKETS_PER_CLIENT = number("SOCKETS_PER_CLIENT", default=100)  # of one user or API key in one web process
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- database and Redis ----------------------------------------------------------------------------------

DATABASE_URL = required("DATABASE_URL", development=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
if not DATABASE_URL.startswith("sqlite:///"):
    address("DATABASE_URL", DATABASE_URL, schemes="postgres postgresql")
DATABASES = {"default": environ.Env.db_url_config(DATABASE_URL)}
DATABASES["default"]["CONN_MAX_AGE"] = number("CONN_MAX_AGE", default=60, least=0)
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True  # a kept connection may not have outlived its server
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Writers queue instead of failing with "database is locked" (docs/reliability.md).
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
REDIS_URL = address("REDIS_URL", text("REDIS_URL"), schemes="redis rediss")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": PUBLIC_URL,
        "OPTIONS": {"socket_timeout": 1.0, "socket_connect_timeout": 1.0},  # seconds
    }
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- sign-in -----------------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = [
    "cloudapi.web.sign_in.Backend",  # first: what it refuses costs no hash
    "organizations.people.sign_in.Backend",
]
SESSION_ENGINE = "organizations.people.sessions"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "csrfmiddlewaretoken"]  # not kept of a failed sign-in
AXES_HTTP_RESPONSE_CODE = 429
AXES_LOCKOUT_CALLABLE = "cloudapi.web.sign_in.too_many"
AXES_WHITELIST_CALLABLE = "cloudapi.web.sign_in.is_known"
# uvicorn knows from which proxies to take a client's address (FORWARDED_ALLOW_IPS); no header is looked at again.
AXES_CLIENT_IP_CALLABLE = "cloudapi.web.sign_in.client_address"
LOGIN_URL = "admin:login"
STAFF_SECOND_FACTOR_REQUIRED = flag("STAFF_SECOND_FACTOR_REQUIRED", default=False)
# Empty: no sign-in through an identity provider.
OIDC_ISSUER = address("OIDC_ISSUER", text("OIDC_ISSUER").rstrip("/"), schemes="https http")
OIDC_CLIENT_ID = with_("OIDC_ISSUER", "OIDC_CLIENT_ID")
OIDC_CLIENT_SECRET = with_("OIDC_ISSUER", "OIDC_CLIENT_SECRET")
OIDC_NAME = text("OIDC_NAME", default="OpenID Connect")

# --- mail --------------------------------------------------------------------------------------

# Empty: nobody resets a password by mail.
EMAIL_URL = address("EMAIL_URL", text("EMAIL_URL"), schemes="smtp+tls smtp+ssl smtp")
vars().update(environ.Env.email_url_config(EMAIL_URL) if EMAIL_URL else {})
EMAIL_TIMEOUT = 10  # seconds
DEFAULT_FROM_EMAIL = with_("EMAIL_URL", "DEFAULT_FROM_EMAIL")
PASSWORD_RESET_TIMEOUT = 3600  # seconds

# --- maps ------------------------------------------------------------------------------------------

# Empty: only the world outline, which needs no internet. Else "https://{s}.example.org/{z}/{x}/{y}.png".
MAP_TILE_URL = text("MAP_TILE_URL")
MAP_TILE_ATTRIBUTION = text("MAP_TILE_ATTRIBUTION")

# --- browser security --------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:", *tile_origins("MAP_TILE_URL", MAP_TILE_URL)],  # "data:" are the stock admin's icons
        "object-src": ["'none'"],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": ["'none'"],
    },
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if not DEBUG:
    SECURE_SSL_REDIRECT = flag("SECURE_SSL_REDIRECT", default=True)
    SECURE_HSTS_SECONDS = number("SECURE_HSTS_SECONDS", default=31_536_000, least=0)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$", r"^mqtt/(auth|acl)$"]
    if PUBLIC_URL.startswith("http://"):
        SECURE_REDIRECT_EXEMPT.append(r"^license-files/")  # the address that docks get must not redirect them

DEFAULT_EXCEPTION_REPORTER_FILTER = "cloudapi.error_reports.Filter"

# --- REST ----------------------------------------------------------------------------------------

API_REQUESTS_PER_MINUTE = number("API_REQUESTS_PER_MINUTE", default=600, least=0)  # of a key or a user; 0: no limit

# --- language, time, files ---------------------------------------------------------------------

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
FORMAT_MODULE_PATH = "cloudapi.formats"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static", ("help", BASE_DIR / "docs" / "images")]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage",
    },
}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG

# --- what the processes show of themselves -------------------------------------------------------

METRICS_TOKEN = text("METRICS_TOKEN")  # what Prometheus shows at /metrics
BRIDGE_METRICS_ADDRESS = listener("BRIDGE_METRICS_ADDRESS")
WORKER_METRICS_ADDRESS = listener("WORKER_METRICS_ADDRESS")
TELEMETRY_METRICS_ADDRESS = listener("TELEMETRY_METRICS_ADDRESS")
LOG_FORMAT = choice("LOG_FORMAT", default="LINES", choices="LINES JSON")
LOGGING = log_settings(
    LOG_FORMAT, level=choice("LOG_LEVEL", default="INFO", choices="DEBUG INFO WARNING ERROR CRITICAL")
)

# --- MQTT: the server's own connection ---------------------------------------------------------

MQTT_SCHEMES = "mqtt mqtts tcp ssl"
MQTT_URL = address("MQTT_URL", text("MQTT_URL", default="mqtt://127.0.0.1:1883"), schemes=MQTT_SCHEMES)
# Whom we trust and how we prove who we are where an address is mqtts://.
MQTT_CERTIFICATES = certificates("MQTT_CA_FILE", "MQTT_CLIENT_CERT_FILE", "MQTT_CLIENT_KEY_FILE")
MQTT_CLIENT_ID = client_id("MQTT_CLIENT_ID", default="dock-cloud-bridge")
# What EMQX shows when it asks /mqtt/auth and /mqtt/acl; without one neither is there.
MQTT_AUTH_SECRET = text("MQTT_AUTH_SECRET") and secret_key("MQTT_AUTH_SECRET", text("MQTT_AUTH_SECRET"))
# Administrators of Mosquitto's dynamic security, and the account with which the enrolment broker comes to the main one.
MQTT_ADMIN_URL = address("MQTT_ADMIN_URL", text("MQTT_ADMIN_URL"), schemes=MQTT_SCHEMES)
ENROLMENT_MQTT_ADMIN_URL = address("ENROLMENT_MQTT_ADMIN_URL", text("ENROLMENT_MQTT_ADMIN_URL"), schemes=MQTT_SCHEMES)
ENROLMENT_BRIDGE_URL = address("ENROLMENT_BRIDGE_URL", text("ENROLMENT_BRIDGE_URL"), schemes=MQTT_SCHEMES)
# The bridge's control connection in a process of its own; SQLite's users have few docks, and one process less.
CONTROL_PROCESS = flag("CONTROL_PROCESS", default=not DATABASE_URL.startswith("sqlite:///"))
MQTT_ROUTES = "cloudapi.mqtt_routes"
# Methods that another service on the same broker answers; docs/configuration.md has the usual list.
MQTT_LEAVE_METHODS = frozenset(filter(None, map(str.strip, text("MQTT_LEAVE_METHODS").split(","))))
BRIDGE_TICKS = {  # seconds between two calls
    "devices.calls.ending.close_overdue": 5.0,
    "devices.topology.sweep": 5.0,
    "mqtt_bridge.journal.mark_unanswered": 5.0,
    "mqtt_bridge.journal.note_skipped": 60.0,
}
GATEWAY_OWNERS = "devices.registry.owners"
SHEET_LOGINS = "devices.broker.sheet_logins"
KNOWN_GATEWAYS = "devices.registry.known"
ENROLMENT_GATE = "devices.broker.enrolment.admit"
TELEMETRY_SINK = "devices.device_state.store"
DEVICE_OFFLINE_AFTER = number("DEVICE_OFFLINE_AFTER", default=60)  # seconds of silence
UNCLAIMED_DEVICE_CAP = number("UNCLAIMED_DEVICE_CAP", default=1000, least=0)
JOURNAL_DAYS = number("JOURNAL_DAYS", default=30)
JOURNAL_BYTES_PER_DAY = number("JOURNAL_BYTES_PER_DAY", default=10_000_000, least=0)  # of each gateway; 0: no limit
SERVICE_CALL_DAYS = number("SERVICE_CALL_DAYS", default=90)
LICENSE_LIST_DAYS = number("LICENSE_LIST_DAYS", default=90)
LICENSE_EVENT_DAYS = number("LICENSE_EVENT_DAYS", default=730)
AUDIT_DAYS = number("AUDIT_DAYS", default=730)
JOURNAL_ENABLED = flag("JOURNAL_ENABLED", default=True)

# --- commands to docks -------------------------------------------------------------------------

COMMANDS_AVAILABLE = bool(REDIS_URL)  # a worker sends them; the demo has its own
SERVICE_CALL_EXPIRES = {  # seconds after which a call is no longer sent; "queue": one that waits for its dock
    "": number("SERVICE_CALL_EXPIRES", default=60),
    "queue": number("SERVICE_CALL_QUEUE_EXPIRES", default=600),
}
# Seconds that a dock may be silent about a call, by method; else its row in devices/calls/methods.py, else "".
SERVICE_SILENCE = {
    method: number(name, default=15)
    for method, name in (
        ("", "SERVICE_SILENCE"),
        ("unlock_license_list", "SERVICE_SILENCE_LIST"),
        ("unlock_license_update", "SERVICE_SILENCE_UPDATE"),
        ("login_dji_account", "SERVICE_SILENCE_ACCOUNT"),
        ("logout_dji_account", "SERVICE_SILENCE_ACCOUNT"),
    )
    if not method or text(name)
}

# --- Celery: workers that publish commands -----------------------------------------------------

CELERY_BROKER_URL = REDIS_URL or "memory://localhost"
CELERY_TASK_DEFAULT_QUEUE = f"dock-cloud {PUBLIC_URL}"  # two servers on one Redis take no tasks from each other
CELERY_TIMEZONE = TIME_ZONE

# --- live in the browser -----------------------------------------------------------------------

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "devices.live.redis_layer.RedisLayer",
        "CONFIG": {
            # Groups are named after primary keys, and Redis publishes a message in all its databases: two servers on
            # one Redis would show each other's frames.
            "prefix": PUBLIC_URL,
            # Without the timeouts a Redis that hangs would hold a new WebSocket for ever.
            "hosts": [{"address": REDIS_URL, "socket_connect_timeout": 3, "socket_timeout": 5}],
        },
    }
    if REDIS_URL
    else {"BACKEND": "cloudapi.embedded.memory_layer.MemoryChannelLayer"}
}

# --- what docks receive ------------------------------------------------------------------------

DOCK_MQTT_URL = address("DOCK_MQTT_URL", text("DOCK_MQTT_URL"), schemes="ssl tcp mqtts mqtt")
DOCK_ENROLMENT_URL = address("DOCK_ENROLMENT_URL", text("DOCK_ENROLMENT_URL"), schemes="ssl tcp mqtts mqtt")
DOCK_MQTT_USERNAME = text("DOCK_MQTT_USERNAME")
DOCK_MQTT_PASSWORD = text("DOCK_MQTT_PASSWORD")
DJI_APP_ID = text("DJI_APP_ID")
DJI_APP_KEY = text("DJI_APP_KEY")
DJI_APP_LICENSE = text("DJI_APP_LICENSE")
# Where "open DJI's page" may lead, subdomains included; a dock names the address, and a dock can be anybody's.
DJI_HOSTS = hosts("DJI_HOSTS", text("DJI_HOSTS", default="dji.com"))
NTP_SERVER_HOST = host("NTP_SERVER_HOST", default="pool.ntp.org")
NTP_SERVER_PORT = number("NTP_SERVER_PORT", default=123, most=65535)
CONFIG_REPLY_RESULT = flag("CONFIG_REPLY_RESULT", default=True)  # docs/protocol.md, decision 1

# --- licenses -------------------------------------------------------------------------------------

LICENSE_SYNC_PER_MINUTE = number("LICENSE_SYNC_PER_MINUTE", default=20, least=0)  # lists read by schedule, of all docks
LICENSE_STALE_HOURS = number("LICENSE_STALE_HOURS", default=24)  # an older list is not shown as current

# --- license files ------------------------------------------------------------------------------

LICENSE_FILE_CAP = number("LICENSE_FILE_CAP", default=16 * 2**20)  # bytes
LICENSE_FILES_CAP = number("LICENSE_FILES_CAP", default=2**30)  # bytes of one organization
LICENSE_FILE_URL_SECONDS = number("LICENSE_FILE_URL_SECONDS", default=3600)

# --- files of imports and exports -------------------------------------------------------------

FILES_CAP = number("FILES_CAP", default=2**30)  # bytes of one organization in the database, compressed

# A device's next owner must not see these: releasing a device deletes their rows.
FORGOTTEN_ON_RELEASE = [
    "devices.Acknowledgement", "devices.DeviceAccount", "devices.DeviceLabel",
    "licenses.LicenseList", "licenses.UnlockLicense",
]  # fmt: skip
