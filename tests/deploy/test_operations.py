"""docs/operations.md: its commands do what the page says."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet

from tests.deploy.docker import Docker
from tests.deploy.engine import copy_of_deploy
from tests.deploy.site import shell
from tests.stack import ROOT, wait_for

pytestmark = pytest.mark.file_turns(2)

PAGE = (ROOT / "docs/operations.md").read_text()
BLOCK = re.compile(r"^## ([^\n]+)$|<!-- (run|check)(?:: ([a-z ]+))? -->\n```sh\n(.*?)```", re.DOTALL | re.MULTILINE)
FULL = bool(os.environ.get("FAULT_FULL"))
ORGANIZATION = """
from django.contrib.auth import get_user_model
from organizations.models import BindingCode, Organization
organization = Organization.objects.create(organization_id="12345678", name="Harbour", app_key="an app key")
print(get_user_model().objects.get().is_superuser, BindingCode.objects.issue(organization=organization)[1])
"""
DEVICES = "from devices.models import Device; print(*Device.objects.exclude(organization=None).values_list('sn'))"


def blocks():
    """{section: [(kind, label, commands)]}"""
    found, section = {}, ""
    for heading, kind, label, text in BLOCK.findall(PAGE):
        section = heading or section
        if kind:
            found.setdefault(section, []).append((kind, label, text))
    return found


BLOCKS = blocks()


@pytest.fixture(scope="module")
def docker(tmp_path_factory, tables):
    docker = Docker(tmp_path_factory.mktemp("docker"), lean=not FULL, tables=tables)
    try:
        yield docker
    finally:
        docker.close()


@pytest.fixture(scope="module")
def machine(docker, tmp_path_factory):
    """A checkout on a bare machine, after "First start in containers"."""
    machine = tmp_path_factory.mktemp("machine")
    copy_of_deploy(machine / "deploy")
    sh(docker, machine, "First start in containers")
    env = machine / "deploy/.env"
    env.write_text(env.read_text().replace("DJI_APP_ID=\n", "DJI_APP_ID=1001\n"))
    for name in ("dji_app_key", "dji_app_license"):
        (machine / "deploy/secrets" / name).write_text(f"a {name}\n")
    return machine


def sh(docker, folder, section, label="", **env):
    """Run the commands of a section in this folder."""
    [commands] = [text for kind, name, text in BLOCKS[section] if (kind, name) == ("run", label)]
    command = ["bash", "-euo", "pipefail", "-c", commands]
    done = subprocess.run(
        command, cwd=folder, env=docker.environment() | env, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{section}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_block_of_commands_is_known_to_a_test():
    sections = PAGE.partition("## The doctor")[0]
    assert sections.count("```sh\n") == sum(map(len, BLOCKS.values())) == 10
    shown = [label for found in BLOCKS.values() for kind, label, _ in found if kind == "run"]
    assert shown == ["", "certificates", "", "", "on another machine", "", "", ""]


@pytest.fixture(scope="module")
def code(docker, machine):
    """The binding code of an organization with a secret."""
    is_superuser, code = shell(docker.engine(machine), ORGANIZATION).split()
    assert is_superuser == "True"  # who was made by the first start
    return code


def app_key(engine):
    """The organization's secret, opened by the first key of the machine."""
    env = os.environ | engine.tools
    command = ["psql", "--username", "dock_cloud", "--tuples-only", "--no-align", "dock_cloud", "--command"]
    token = subprocess.check_output([*command, "SELECT app_key FROM organizations_organization"], env=env, text=True)
    first = (engine.folder / "secrets/field_encryption_keys").read_text().split(",")[0]
    return Fernet(first).decrypt(token.strip()).decode()


@pytest.mark.usefixtures("code")
def test_a_backup_is_restored_on_another_machine_and_can_be_decrypted(docker, machine, tmp_path):
    sh(docker, machine, "Backup")
    copy_of_deploy(tmp_path / "deploy")
    shutil.copytree(machine / "backup", tmp_path / "backup")
    said = sh(docker, tmp_path, "Restore", "on another machine")
    assert "organizations.Organization.app_key: 0 encrypted_again, 1 current, 0 lost" in said
    other = docker.engine(tmp_path)
    assert app_key(other) == "an app key"
    if FULL:
        assert other.run("mqtt-acl", ["python", "manage.py", "mqtt_acl", "--check"])[0] == 0
    other.stop()


@pytest.mark.usefixtures("code")
def test_keys_are_changed_and_the_old_one_is_not_needed(docker, machine):
    keys = machine / "deploy/secrets/field_encryption_keys"
    before = keys.read_text()
    assert "app_key: 1 encrypted_again" in sh(docker, machine, "Change keys")
    assert before not in keys.read_text()
    assert app_key(docker.engine(machine)) == "an app key"


def test_upgrading_leaves_a_server_that_works(docker, machine):
    assert "No migrations to apply" in sh(docker, machine, "Upgrade")


def test_a_certificate_of_a_public_authority_takes_the_place_of_ours(docker, machine, tmp_path):
    command = [sys.executable, ROOT / "deploy/first_start.py", "--host", "docks.example.com", "--folder", tmp_path]
    subprocess.run([*command, "--own-site-certificate"], check=True, capture_output=True)
    for name, kind in (("CHAIN", "crt"), ("KEY", "key")):
        shutil.copy(tmp_path / f"secrets/site.{kind}", machine / f"{name}.pem")
    sh(docker, machine, "First start in containers", "certificates")
    assert (machine / "deploy/secrets/broker.crt").read_text() == (machine / "CHAIN.pem").read_text()


@pytest.mark.skipif(not FULL, reason="starts every process: FAULT_FULL=1")
def test_a_simulated_dock_takes_the_first_steps(docker, machine, code):
    engine = docker.engine(machine)
    engine.stop()  # the page's `--force-recreate`: DJI's license came after the first start
    docker.up(engine, [])
    [(_, _, commands)] = BLOCKS["The first dock"]
    env = docker.environment() | {"ORGANIZATION": "12345678", "CODE": code}
    dock = subprocess.Popen(["bash", "-euc", commands], cwd=machine, env=env, start_new_session=True)
    try:
        wait_for(lambda: "SIMDOCK00001" in shell(engine, DEVICES))
    finally:
        os.killpg(dock.pid, signal.SIGINT)
        dock.wait(timeout=60)


def test_the_commands_for_systemd_name_what_is_there(tmp_path):
    """They change a whole machine, so no test runs them all: what is ours among them is run, the rest is Debian's."""
    debian = {"apt-get", "git", "systemctl", "ln", "adduser", "cd", "python3", "install", "runuser", "echo", "cp"}
    lines = [
        line for found in BLOCKS.values() for kind, _, text in found if kind == "check" for line in text.splitlines()
    ]
    ours = [line for line in lines if line.split()[0] not in debian]
    for line in ours:
        program, *arguments = line.replace("/etc/dock-cloud", str(tmp_path)).split()
        if "first_start.py" in line:
            subprocess.run([sys.executable, ROOT / arguments[0], *arguments[1:]], check=True, capture_output=True)
        else:
            assert program in (".venv/bin/pip", "deploy/manage")
    assert re.search(r"@127\.0\.0\.1:5432/", (tmp_path / "secrets/database_url").read_text())
    assert all((ROOT / name).exists() for name in ("deploy/systemd", "deploy/manage", "requirements.txt"))
    command = [sys.executable, ROOT / "deploy/manage", "check"]
    env = os.environ | {"DOCK_CLOUD_FOLDER": str(tmp_path), "DEBUG": "false"}
    for name in ("DATABASE_URL", "REDIS_URL", "MQTT_URL"):
        env.pop(name, None)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
