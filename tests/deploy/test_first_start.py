"""deploy/first_start.py: secrets and certificates, made once."""

import shutil
import ssl
import subprocess
import sys

import pytest
from cryptography import x509

from tests.stack import ROOT

pytestmark = pytest.mark.file_turns(2)


def first_start(folder, *options, host="docks.example.com"):
    command = [sys.executable, ROOT / "deploy/first_start.py", "--host", host, "--folder", folder, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    done = first_start(folder, "--own-site-certificate")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture
def folder(made, tmp_path):
    """A copy of what a first start made."""
    return shutil.copytree(made[0], tmp_path / "copy")


def contents(folder):
    return {path.name: path.read_text() for path in [folder / ".env", *(folder / "secrets").iterdir()]}


def test_only_their_owner_can_read_the_secrets(made):
    secrets = made[0] / "secrets"
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o600}


def test_the_public_file_holds_no_secret(made):
    public, *_ = (text for name, text in contents(made[0]).items() if name == ".env")
    hidden = [text.strip() for name, text in contents(made[0]).items() if name != ".env" and text]
    assert not [text for text in hidden if text in public]


def test_each_secret_is_another(made):
    texts = [text for name, text in contents(made[0]).items() if name.endswith(("password", "keys", "secret_key"))]
    assert len(set(texts)) == len(texts) > 8
    assert min(map(len, texts)) >= 32


def test_what_to_type_is_printed(made):
    folder, said = made
    assert "ssl://docks.example.com:8884" in said
    assert (folder / "secrets/dock_mqtt_password").read_text() in said
    assert "GoDaddy" in said


@pytest.mark.parametrize(("name", "hosts"), [
    ("broker", {"docks.example.com", "mosquitto", "localhost"}), ("inside", {"mosquitto", "enrolment", "localhost"}),
    ("site", {"docks.example.com"}),
])  # fmt: skip
def test_certificates_are_for_these_hosts_and_signed_by_our_authority(made, name, hosts):
    secrets = made[0] / "secrets"
    certificate = x509.load_pem_x509_certificate((secrets / f"{name}.crt").read_bytes())
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert hosts <= set(alternatives.get_values_for_type(x509.DNSName))
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate((secrets / "ca.crt").read_bytes()))
    ssl.create_default_context().load_cert_chain(secrets / f"{name}.crt", secrets / f"{name}.key")


def test_a_second_run_changes_nothing(folder):
    before = contents(folder)
    done = first_start(folder, "--own-site-certificate")
    assert (done.returncode, contents(folder)) == (0, before)
    assert done.stdout.startswith("Nothing was missing.")


def test_another_name_is_refused(folder):
    before = contents(folder)
    done = first_start(folder, host="docks.example.org")
    assert (done.returncode, contents(folder)) == (1, before)
    assert "says SITE_HOST=docks.example.com, not docks.example.org" in done.stderr


def test_a_lost_secret_is_not_replaced(folder):
    (folder / "secrets/field_encryption_keys").unlink()
    done = first_start(folder)
    assert done.returncode == 1
    assert "field_encryption_keys missing" in done.stderr
    assert not (folder / "secrets/field_encryption_keys").exists()


def test_a_run_that_was_cut_short_is_finished_by_the_next(folder):
    (folder / ".env").unlink()
    (folder / "secrets/redis_url").unlink()
    kept = (folder / "secrets/redis_password").read_text()
    done = first_start(folder)
    assert done.returncode == 0, done.stderr
    assert kept in (folder / "secrets/redis_url").read_text()


def test_renewing_makes_new_certificates_and_no_new_secret(folder):
    before, files = contents(folder), {path.name: path.stat().st_ino for path in (folder / "secrets").iterdir()}
    assert first_start(folder, "--own-site-certificate", "--renew").returncode == 0
    # A container that runs has the files themselves, whatever is put under their names.
    assert {path.name: path.stat().st_ino for path in (folder / "secrets").iterdir()} == files
    changed = {name for name, text in contents(folder).items() if text != before[name]}
    assert changed == {f"{name}.{kind}" for name in ("broker", "inside", "site") for kind in ("crt", "key")}


def test_an_operator_may_bring_a_certificate_but_not_that_of_another_host(folder, tmp_path):
    pair = [folder / "secrets/site.crt", folder / "secrets/site.key"]
    assert first_start(folder, "--renew", "--broker-certificate", *pair).returncode == 0
    assert (folder / "secrets/broker.crt").read_text() == pair[0].read_text()
    other = first_start(tmp_path / "new", "--broker-certificate", *pair, host="docks.example.org")
    assert "is not for docks.example.org, but for docks.example.com" in other.stderr
    mixed = first_start(tmp_path / "mixed", "--broker-certificate", pair[0], folder / "secrets/inside.key")
    assert "is not the key of" in mixed.stderr


def test_renewing_leaves_the_certificate_of_another_authority(folder, tmp_path):
    assert first_start(tmp_path / "other", "--own-site-certificate").returncode == 0
    pair = [tmp_path / f"other/secrets/site.{kind}" for kind in ("crt", "key")]
    assert first_start(folder, "--renew", "--broker-certificate", *pair).returncode == 0
    assert first_start(folder, "--renew", "--own-site-certificate").returncode == 0
    assert (folder / "secrets/broker.crt").read_text() == pair[0].read_text()


@pytest.mark.parametrize("host", ["https://docks.example.com", "docks example", "docks.example.com:443", "-x", ""])
def test_what_is_no_host_name_is_refused(tmp_path, host):
    done = first_start(tmp_path / "new", host=host)
    assert done.returncode == 2
    assert not (tmp_path / "new").exists()
