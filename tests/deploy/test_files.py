"""The files in deploy/ are right by the schemas and linters of their trades, and they keep our own promises."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cloudapi.embedded import programs
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


def test_both_forms_run_the_same_commands():
    """A container and a unit of the same name differ in the address that the web server listens on."""
    own = {name for name, service in SERVICES.items() if service["image"].startswith("dock-cloud:")}
    for name in own | {"mosquitto", "enrolment"}:
        unit = f"dock-cloud-{'server-' if name in own else ''}{name.partition('-standby')[0]}"
        [path] = [unit_path for unit_path in UNITS if unit_path.stem in (unit, f"{unit}@")]
        [line] = re.findall(r"^ExecStart=(.*)$", path.read_text(), flags=re.MULTILINE)
        program, *arguments = line.replace("--host=127.0.0.1", "--host=0.0.0.0").split(" ")
        assert [Path(program).name, *arguments] == SERVICES[name]["command"], name


def test_the_target_starts_every_process():
    target = (DEPLOY / "systemd/dock-cloud.target").read_text()
    wanted = {re.sub(r"@\d*", "@", name) for name in re.findall(r"[\w@-]+\.service", target)}
    assert wanted | {"dock-cloud-server-migrate.service"} == {unit.name for unit in UNITS}


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_locked_in(name):
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "DOCK_CLOUD_USER" in service["user"]
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
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
    assert packages | {"manage.py", "requirements.txt", "locale", "static", "templates"} <= kept
    assert not {"tests", "docs", ".git"} & kept
