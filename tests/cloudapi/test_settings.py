"""What production must set."""

import json
import os
import re
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from django.core.exceptions import ImproperlyConfigured

from cloudapi.environment import tile_origins
from tests import fork_server
from tests.certificates import Authority
from tests.fork_server import ROOT

PRODUCTION = {
    "DEBUG": "false",
    "SECRET_KEY": "a secret key for the tests only, with 50 characters or more",
    "FIELD_ENCRYPTION_KEYS": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "PUBLIC_URL": "https://docks.example.com",
    "ALLOWED_HOSTS": "docks.example.com",
    "DATABASE_URL": "postgres://docks@127.0.0.1/docks",
}
REQUIRED = sorted(PRODUCTION.keys() - {"DEBUG"})


def manage(*arguments, **changes):
    """Run a command in production's environment, changed; returns the finished process."""
    env = {name: value for name, value in (os.environ | PRODUCTION | changes).items() if value}
    return fork_server.run(["manage.py", *arguments], env=env)


def check(**changes):
    return manage("check", **changes)


def test_production_starts_when_it_is_told_all_that_it_needs():
    done = check()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", REQUIRED)
def test_production_does_not_start_without(name):
    done = check(**{name: ""})
    assert f"{name} must be set when DEBUG is off" in done.stderr
    assert done.returncode != 0


# One value of each kind that people type, and a part of what they are told.
WRONG = [
    ("DEBUG", "ture", "write true or false"),
    ("SECRET_KEY", "short", "can be guessed"),
    ("SECRET_KEY", "ab" * 40, "can be guessed"),
    ("SECRET_KEY_FALLBACKS", f"{PRODUCTION['SECRET_KEY']},short", "can be guessed"),
    ("FIELD_ENCRYPTION_KEYS", "abc", "number 1 is not a Fernet key"),
    ("FIELD_ENCRYPTION_KEYS", f"{PRODUCTION['FIELD_ENCRYPTION_KEYS']},abc", "number 2 is not a Fernet key"),
    ("FIELD_ENCRYPTION_KEYS", ",", "number 1 is not a Fernet key"),
    ("PUBLIC_URL", "docks.example.com", "https://host:port"),
    ("PUBLIC_URL", "https://", "https://host:port"),
    ("PUBLIC_URL", "https://docks.example.com:port", "https://host:port"),
    ("DJI_HOSTS", "https://dji.com", "write host names"),
    ("ALLOWED_HOSTS", "docks.example.com,", "write host names"),
    ("ALLOWED_HOSTS", "docks.example.com www.example.com", "write host names"),
    ("ALLOWED_HOSTS", "https://docks.example.com", "write host names"),
    ("DATABASE_URL", "docks", "postgres://host:port"),
    ("DATABASE_URL", "mysql://docks@127.0.0.1/docks", "postgres://host:port"),
    ("REDIS_URL", "127.0.0.1:6379", "redis://host:port"),
    ("MQTT_URL", "http://127.0.0.1", "mqtt://host:port"),
    ("MQTT_URL", "mqtt://broker:99999", "mqtt://host:port"),
    ("MQTT_ADMIN_URL", "http://127.0.0.1", "mqtt://host:port"),
    ("ENROLMENT_MQTT_ADMIN_URL", "127.0.0.1", "mqtt://host:port"),
    ("ENROLMENT_BRIDGE_URL", "mqtt://broker:0x1", "mqtt://host:port"),
    ("DOCK_MQTT_URL", "broker.example.com", "ssl://host:port"),
    ("DOCK_ENROLMENT_URL", "http://broker.example.com", "ssl://host:port"),
    ("MQTT_AUTH_SECRET", "short", "can be guessed"),
    ("DATABASE_URL", "postgres://docks:p/w@127.0.0.1/docks", "percent-encoded"),
    ("JOURNAL_DAYS", "0", "a whole number, 1 or more"),
    ("JOURNAL_DAYS", "-3", "a whole number, 1 or more"),
    ("MQTT_CLIENT_ID", "a bridge/+", "letters, digits"),
    ("MQTT_CA_FILE", "/nowhere/ca.pem", "which cannot be read: No such file"),
    ("MQTT_CA_FILE", __file__, "holds no certificate in PEM format"),
    ("MQTT_CLIENT_CERT_FILE", __file__, "holds no certificate in PEM format"),
    ("MQTT_CLIENT_KEY_FILE", __file__, "is set without MQTT_CLIENT_CERT_FILE"),
    ("NTP_SERVER_HOST", "ntp://pool.ntp.org", "write a host name"),
    ("NTP_SERVER_PORT", "70000", "a whole number, 1 to 65535"),
    ("LOG_FORMAT", "xml", "write one of LINES JSON"),
    ("BRIDGE_METRICS_ADDRESS", "9101", "write host:port"),
    ("TELEMETRY_METRICS_ADDRESS", ":9121", "write host:port"),
    ("WORKER_METRICS_ADDRESS", "http://127.0.0.1:9111", "write host:port"),
    ("LOG_LEVEL", "loud", "write one of DEBUG INFO"),
    ("MAP_TILE_URL", "tile.example.org", "not an address like https://tile.example.org/"),
    ("OIDC_ISSUER", "id.example.com", "https://host:port"),
    ("EMAIL_URL", "mail.example.com", "smtp+tls://host:port"),
]
FLAGS = {
    *("CONFIG_REPLY_RESULT", "CONTROL_PROCESS", "DEBUG", "JOURNAL_ENABLED", "SECURE_SSL_REDIRECT"),
    "STAFF_SECOND_FACTOR_REQUIRED",
}
# Any line of text is right. MQTT_LEAVE_METHODS is refused by a check of Django, see below.
ANY_LINE = {
    *("DJI_APP_ID", "DJI_APP_KEY", "DJI_APP_LICENSE", "DOCK_MQTT_PASSWORD", "DOCK_MQTT_USERNAME"),
    *("MAP_TILE_ATTRIBUTION", "METRICS_TOKEN", "MQTT_LEAVE_METHODS"),
    *("OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_NAME", "DEFAULT_FROM_EMAIL"),
}
DOCUMENT = (ROOT / "docs/configuration.md").read_text()
DOCUMENTED = {
    name for row in re.findall(r"^\| (`[^|]+) \|", DOCUMENT, re.MULTILINE) for name in re.findall(r"`([A-Z_]+)`", row)
}
# The rest are whole numbers.
NUMBERS = DOCUMENTED - FLAGS - ANY_LINE - {name for name, _, _ in WRONG} | {"JOURNAL_DAYS"}
WRONG += [(name, "maybe", "write true or false") for name in FLAGS]
WRONG += [(name, "two", "write a whole number") for name in NUMBERS]
WRONG += [(name, "a\nb", "holds more than one line") for name in DOCUMENTED]

LOAD = """
import importlib, json, os, sys
from cloudapi import settings
whole = dict(os.environ)
for changes in json.loads(sys.argv[1]):
    os.environ.update(changes)
    try:
        importlib.reload(settings)
        print("taken")
    except Exception as error:
        print(type(error).__name__, error)
    os.environ.clear()
    os.environ.update(whole)
"""


def load(changes):
    """What the settings say to each of these changes of production's environment: "taken", or the error."""
    done = fork_server.run(["-c", LOAD, json.dumps(changes)], env=os.environ | PRODUCTION)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_is_wrong_is_refused_by_its_name_and_told_without_passwords(report):
    """Every process reads the settings first, so one is enough to try the values."""
    for (name, value, words), line in zip(WRONG, load([{name: value} for name, value, _ in WRONG]), strict=True):
        assert line.startswith(f"ImproperlyConfigured {name} "), (name, value, line)
        assert words in line, (name, value, line)
    secrets = [{"DATABASE_URL": "mysql://docks:hush@127.0.0.1/docks"}, {"MQTT_URL": "x://a:hush@b"}]
    assert "hush" not in str(load(secrets))
    report(f"{len(WRONG)} wrong values of {len(DOCUMENTED)} documented variables, each refused by its name")


def test_what_belongs_together_is_asked_for_by_its_name():
    issuer, mail = {"OIDC_ISSUER": "https://id.example.com"}, {"EMAIL_URL": "smtp+tls://mail.example.com:587"}
    whole = [
        issuer | {"OIDC_CLIENT_ID": "a", "OIDC_CLIENT_SECRET": "b"},
        mail | {"DEFAULT_FROM_EMAIL": "a@example.com"},
    ]
    assert load(whole) == ["taken"] * 2
    lines = load([issuer, issuer | {"OIDC_CLIENT_ID": "a"}, mail])
    for line, name in zip(lines, ("OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "DEFAULT_FROM_EMAIL"), strict=True):
        assert line.startswith(f"ImproperlyConfigured {name} must be set, because ")


def test_each_variable_may_be_the_content_of_a_file(tmp_path, report):
    """Unreadable, two values and a second line are refused; white space around the value is not part of it."""
    lines, empty = tmp_path / "lines", tmp_path / "empty"
    lines.write_text("one\ntwo\n")
    empty.write_text("\n")
    wrong = {
        "_FILE names '/nowhere', which cannot be read: No such file or directory.": {"": "", "_FILE": "/nowhere"},
        " is set twice: unset it or {}_FILE.": {"": "1", "_FILE": str(lines)},
        "_FILE holds more than one line": {"": "", "_FILE": str(lines)},
    }
    tries = [(name, words, change) for name in sorted(DOCUMENTED) for words, change in wrong.items()]
    answers = load([{name + end: value for end, value in change.items()} for name, _, change in tries])
    for (name, words, _), line in zip(tries, answers, strict=True):
        assert line.startswith(f"ImproperlyConfigured {name}{words.format(name)}"), line
    names = sorted(DOCUMENTED)
    answers = load([{name: "", f"{name}_FILE": str(empty)} for name in names])
    missing = [f"ImproperlyConfigured {name} must be set when DEBUG is off" for name in REQUIRED]
    assert [line.partition(";")[0] for line in answers if line != "taken"] == missing
    report(f"{len(tries)} wrong NAME_FILE of {len(names)} variables, each refused by its name")


def test_the_value_in_a_file_is_taken(tmp_path):
    script = "from django.conf import settings as s; print(s.DATABASES['default']['PASSWORD'], s.JOURNAL_DAYS)"
    files = {name: tmp_path / name for name in ("DATABASE_URL", "JOURNAL_DAYS")}
    files["DATABASE_URL"].write_text(" postgres://docks:a%2Fb%40c%23d@127.0.0.1/docks\n")
    files["JOURNAL_DAYS"].write_text("7\n")
    given = dict.fromkeys(files, "") | {f"{name}_FILE": str(file) for name, file in files.items()}
    assert manage("shell", "-v0", "-c", script, **given).stdout == "a/b@c#d 7\n"


def test_every_variable_is_documented_and_comes_through_one_door():
    script = """
from cloudapi import environment
names, read = [], environment.text
environment.text = lambda name, **options: names.append(name) or read(name, **options)
from cloudapi import settings
print(*names)
"""
    asked = fork_server.run(["-c", script], env=os.environ | PRODUCTION).stdout.split()
    assert set(asked) == DOCUMENTED
    listed = subprocess.run(["git", "grep", "-l", "os.environ", "*.py"], cwd=ROOT, capture_output=True, text=True)
    own = {name for name in listed.stdout.split() if not name.startswith(("tests/", "benchmarks/", "docs/", "deploy/"))}
    # What starts programs passes the environment on; the others say where Django's settings are.
    starting = {"cloudapi/embedded/lifecycle.py", "cloudapi/embedded/programs.py", "mqtt_bridge/line/control.py"}
    assert own - starting <= {"cloudapi/environment.py", "cloudapi/asgi.py", "cloudapi/celery.py", "manage.py"} | {
        "cloudapi/monitoring/shared.py",  # what prometheus_client reads while it is imported
    }


def test_files_of_certificates_must_fit_together(tmp_path):
    authority = Authority(tmp_path)
    (certificate, key), (_, other_key) = authority.issue("bridge"), authority.issue("other")
    locked = tmp_path / "locked.key"
    key_itself = serialization.load_pem_private_key(key.read_bytes(), None)
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    locked.write_bytes(key_itself.private_bytes(*encoding, serialization.BestAvailableEncryption(b"a password")))
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())

    def given(certificate, key=""):
        return {"MQTT_CLIENT_CERT_FILE": str(certificate), "MQTT_CLIENT_KEY_FILE": str(key)}

    right = [given(certificate, key), given(both), {"MQTT_CA_FILE": str(authority.ca_file)}]
    assert load(right) == ["taken"] * 3
    for line in load([given(certificate, other_key), given(certificate, locked), given(certificate)]):
        assert line.startswith("ImproperlyConfigured MQTT_CLIENT_KEY_FILE must name the key of MQTT_CLIENT_CERT_FILE")


@pytest.mark.parametrize(
    "program",
    [
        ["manage.py", "run_mqtt_bridge"],
        ["-m", "uvicorn", "cloudapi.asgi:application", "--port=0"],
        ["-m", "celery", "-A", "cloudapi", "worker"],
        ["-m", "celery", "-A", "cloudapi", "beat"],
    ],
    ids=lambda program: " ".join(program[:4]),
)
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SECRET_KEY", "short", "SECRET_KEY can be guessed"),  # read with the settings
        (
            "MQTT_LEAVE_METHODS",
            "no method!",
            "MQTT_LEAVE_METHODS: 'no method!' is not a method name.",
        ),  # one of Django's checks
    ],
)
def test_every_process_refuses(program, name, value, words):
    env = os.environ | PRODUCTION | {"REDIS_URL": "redis://127.0.0.1:1", name: value}
    done = fork_server.run(program, env=env)
    assert words in done.stderr
    assert done.returncode != 0


def test_two_servers_on_one_redis_have_a_queue_each():
    script = "from cloudapi.celery import app; print(app.conf.task_default_queue)"
    names = {
        fork_server.run(["-c", script], env=os.environ | PRODUCTION | {"PUBLIC_URL": url}).stdout
        for url in ("https://a.example.com", "https://b.example.com")
    }
    assert len(names) == 2, names


def test_plain_http_is_for_probes_metrics_and_the_broker_only():
    redirects = """
from django.middleware.security import SecurityMiddleware
from django.test import RequestFactory
request = RequestFactory(SERVER_NAME="docks.example.com").get
middleware = SecurityMiddleware(lambda request: None)
pages = ("/healthz", "/readyz", "/metrics", "/mqtt/auth", "/mqtt/acl", "/admin/", "/metrics/x", "/mqtt/authx")
print([page for page in pages if middleware.process_request(request(page))])
"""
    done = manage("shell", "-v0", "-c", redirects)
    assert done.stdout.strip() == "['/admin/', '/metrics/x', '/mqtt/authx']", done.stderr


@pytest.mark.parametrize(("scheme", "is_exempt"), [("http", True), ("https", False)])
def test_docks_are_redirected_to_https_only_if_their_addresses_are_https(scheme, is_exempt):
    program = """
import re
from django.conf import settings
print(any(re.search(pattern, "license-files/token/a.kmz") for pattern in settings.SECURE_REDIRECT_EXEMPT))
"""
    done = manage("shell", "-v0", "-c", program, PUBLIC_URL=f"{scheme}://docks.example.com")
    assert done.stdout.strip() == str(is_exempt), done.stderr


@pytest.mark.parametrize(
    ("address", "origins"),
    [
        ("", []),
        ("/tiles/{z}/{x}/{y}.png", []),
        ("https://tile.example.org/{z}/{x}/{y}.png", ["https://tile.example.org"]),
        ("https://{s}.tile.example.org:8443/{z}/{x}/{y}.png", ["https://*.tile.example.org:8443"]),
        ("http://t{s}.example.org/{z}/{x}/{y}{r}.png?key=a;b", ["http://*.example.org"]),
    ],
)
def test_only_the_origin_of_map_tiles_is_let_in(address, origins):
    assert tile_origins("MAP_TILE_URL", address) == origins


@pytest.mark.parametrize("address", ["ftp://tile.example.org/", "https://x; script-src *", "//x/"])
def test_what_is_no_address_of_tiles_is_refused(address):
    with pytest.raises(ImproperlyConfigured, match="MAP_TILE_URL is not an address like"):
        tile_origins("MAP_TILE_URL", address)


def test_the_policy_lets_in_the_tiles_of_the_settings():
    script = "from django.conf import settings; print(settings.CONTENT_SECURITY_POLICY['DIRECTIVES']['img-src'])"
    told = manage("shell", "-v0", "-c", script, MAP_TILE_URL="https://tile.example.org/{z}/{x}/{y}.png").stdout
    assert "'https://tile.example.org'" in told
    assert "tile" not in manage("shell", "-v0", "-c", script, MAP_TILE_URL="").stdout


def test_the_bridge_has_a_process_for_its_connection_unless_the_database_is_sqlite(tmp_path):
    def is_process(**changes):
        asked = "from django.conf import settings; print(settings.CONTROL_PROCESS)"
        return manage("shell", "-v0", "-c", asked, CONTROL_PROCESS="", **changes).stdout.strip()

    shown = is_process(), is_process(DATABASE_URL=f"sqlite:///{tmp_path / 'docks.sqlite3'}", DEBUG="true")
    assert shown == ("True", "False")
