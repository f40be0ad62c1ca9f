"""The files in deploy/ are right by the schemas and linters of their trades, and they keep our own promises."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cloudapi.embedded import programs
from cloudapi.web.log_masking import masked
from tests.stack import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
BIN = Path(sys.executable).parent


def run(*command, **env):
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_compose_has_the_form_of_its_schema():
    code, said = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    assert code == 0, said


def test_the_linter_of_dockerfiles_has_nothing_to_say():
    assert run(BIN / "hadolint", DEPLOY / "Dockerfile") == (0, "")


@pytest.mark.parametrize("tls", ["", "tls ops@example.com", "tls /run/secrets/site.crt /run/secrets/site.key"])
def test_caddy_understands_its_file(tls):
    caddy = programs.find("caddy")
    names = {"SITE_HOST": "docks.example.com", "SITE_TLS": tls, "WEB": "web:8000"}
    code, said = run(caddy.path, "adapt", "--config", DEPLOY / "Caddyfile", "--adapter", "caddyfile", **names)
    assert code == 0, said
    assert "not formatted" not in said


@pytest.mark.parametrize(
    "path", ["/welcome/canary/", "/license-files/canary", "/license-files/canary/f?x=1", "/password-reset/MQ/canary/"]
)
def test_tokens_are_not_in_the_log_of_caddy(path):
    pattern, text = re.search(r'request>uri regexp "(.+)" "(.+)"', (DEPLOY / "Caddyfile").read_text()).groups()
    logged = re.sub(pattern, text.replace("$1", r"\1"), path)
    assert "canary" not in logged
    assert logged == masked(path)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this machine has no systemd-analyze")
def test_systemd_understands_its_units():
    code, said = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *UNITS)
    complaints = [line for line in said.splitlines() if "is not executable: No such file" not in line]
    assert complaints == [], (code, said)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this machine has no systemd-analyze")
def test_systemd_counts_every_unit_as_well_protected(report):
    levels = {}
    for unit in UNITS:
        _, said = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit, LC_ALL="C.UTF-8")
        levels[unit.name] = float(re.search(r"Overall exposure level for \S+ ([\d.]+)", said).group(1))
    report(f"systemd-analyze security: {max(levels.values())} of 10 at most, in {len(levels)} units")
    assert max(levels.values()) <= 2.0, levels


def exec_start(unit):
    """What the unit of this name runs, as words; paths without their folders."""
    [path] = [path for path in UNITS if path.stem in (unit, f"{unit}@")]
    [line] = re.findall(r"^ExecStart=(.*)$", path.read_text(), flags=re.MULTILINE)
    return [without_folder(word) for word in shlex.split(line)]


def without_folder(word):
    return Path(word).name if re.fullmatch(r"/[\w./-]+", word) else word


def test_both_forms_run_the_same_commands():
    """A container and a unit of the same name differ in the address that the web server listens on, and in folders."""
    own = {name for name, service in SERVICES.items() if service["image"].startswith("dock-cloud:")}
    for name in own | {"mosquitto", "enrolment"}:
        words = exec_start(f"dock-cloud-{'server-' if name in own else ''}{name.removesuffix('-standby')}")
        listening = [word.replace("--host=127.0.0.1", "--host=0.0.0.0") for word in words]
        assert listening == [without_folder(word.rstrip("\n")) for word in SERVICES[name]["command"]], name


@pytest.mark.parametrize("name", ["mosquitto", "enrolment"])
def test_on_a_machine_of_its_own_the_inner_listener_is_for_loopback(name):
    unit = (DEPLOY / f"systemd/dock-cloud-{name}.service").read_text()
    [script] = re.findall(r"^ExecStartPre=/bin/sh -c '(sed .*) /etc/mosquitto/\S+ > \S+'$", unit, flags=re.MULTILINE)
    shipped = (DEPLOY / f"mosquitto/{name}.conf").read_text()
    command = ["sh", "-c", script.replace("$$", "$")]
    made = subprocess.run(command, input=shipped, capture_output=True, text=True, check=True).stdout
    listeners = re.findall(r"^listener (.*)$", made, flags=re.MULTILINE)
    assert listeners == (["8882 127.0.0.1", "8883"] if name == "mosquitto" else ["8881 127.0.0.1", "8884"])


def test_the_target_starts_every_process():
    target = (DEPLOY / "systemd/dock-cloud.target").read_text()
    wanted = {re.sub(r"@\d*", "@", name) for name in re.findall(r"[\w@-]+\.service", target)}
    before = {"dock-cloud-server-migrate.service", "dock-cloud-server-broker-init.service"}  # the others require them
    assert wanted | before == {unit.name for unit in UNITS}


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_locked_in(name):
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "DOCK_CLOUD_USER" in service["user"]
    assert service["restart"] == ("no" if name in ("migrate", "broker-init") else "unless-stopped")
    assert {"mem_limit", "pids_limit", "logging", "networks"} <= service.keys()


def test_only_listeners_with_tls_have_ports_outside():
    ports = {port: name for name, service in SERVICES.items() for port in service.get("ports", ())}
    assert ports == {
        "80:80": "proxy",  # redirects to 443, and answers Let's Encrypt
        "443:443": "proxy",
        "443:443/udp": "proxy",
        "8883:8883": "mosquitto",
        "8884:8884": "enrolment",
    }


def test_every_image_has_a_version():
    images = {service["image"] for service in SERVICES.values() if "build" not in service}
    images |= set(re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE))
    assert len(images) == 5
    for image in images:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?(-[a-z]+)*", image), image


def test_secrets_are_files_and_nothing_else_has_a_password():
    words = r"(?i)pass|secret|key|token|_url"
    for name, service in SERVICES.items():
        hidden = [value for value in service.get("environment", {}) if re.search(words, value)]
        assert all(value.endswith("_FILE") for value in hidden), (name, hidden)
    own = (DEPLOY / "server.env").read_text()
    files = re.findall(r"^\w+_FILE=/run/secrets/(\S+)$", own, flags=re.MULTILINE)
    assert len(files) == len([line for line in own.splitlines() if line and not line.startswith("#")])
    drop_in = (DEPLOY / "systemd/dock-cloud-server-.service.d/server.conf").read_text()
    credentials = re.findall(r"^LoadCredential=(\S+):/etc/dock-cloud/secrets/\1$", drop_in, flags=re.MULTILINE)
    assert set(files) == set(SERVICES["web"]["secrets"]) == set(credentials)
    assert COMPOSE["secrets"] == {name: {"file": f"./secrets/{name}"} for name in COMPOSE["secrets"]}


def test_the_image_holds_what_the_server_needs_and_no_more():
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    assert rules[1] == "*"
    assert all((ROOT / name).exists() for name in kept)
    packages = set(
        re.findall(r"root_packages = \[(.*)\]", (ROOT / "pyproject.toml").read_text())[0].replace('"', "").split(", ")
    )
    assert packages | {"manage.py", "requirements.txt", "static", "templates"} <= kept
    assert not {"tests", "docs", ".git"} & kept


@pytest.mark.skipif(not os.environ.get("FAULT_FULL"), reason="takes 10 s: FAULT_FULL=1")
def test_the_files_of_the_image_are_enough_to_build_it_and_to_start(tmp_path):
    """The step of the Dockerfile that makes static files, in a folder with nothing but what .dockerignore keeps."""
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if rule.startswith("!"):
            source, target = ROOT / rule[1:], tmp_path / rule[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    [step] = [step for step in re.findall(r"^RUN ((?:.*\\\n)*.*)$", DOCKERFILE, flags=re.MULTILINE) if "static" in step]
    script = step.replace("\\\n", " ").partition("&& install")[0]
    env = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-ec", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "staticfiles/staticfiles.json").exists()
