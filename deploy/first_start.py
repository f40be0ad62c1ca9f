#!/usr/bin/env python3
"""Makes the secrets and certificates of a first start, once: `python3 deploy/first_start.py --host docks.example.com`.

It needs the package `cryptography` (on Debian: python3-cryptography) and nothing of this server. Every secret is a file
that only its owner can read; `.env` has what is public. Nothing that exists is written again.
"""

import argparse
import base64
import datetime
import ipaddress
import os
import re
import secrets
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CONTAINER_USER = 10001  # deploy/Dockerfile
CA_DAYS = 3650
CERTIFICATE_DAYS = 730
HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
INSIDE = ["mosquitto", "enrolment", "localhost", "127.0.0.1"]  # what our own processes call the brokers
ENROLLING = "enrolment.0"  # the account that all new docks share until they have their own
GIVEN = ("dji_app_key", "dji_app_license")  # from DJI's developer site; empty until someone fills them
OTHER_USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
              "encipher_only", "decipher_only")  # fmt: skip
NOW = datetime.datetime.now(datetime.UTC)


class RefusedError(Exception):
    """What the operator must do first."""


def secret() -> str:
    """192 random bits that need no escaping in an address."""
    return secrets.token_urlsafe(24)


def passwords() -> dict[str, str]:
    """Every password and key, by the name of its file."""
    return {
        "secret_key": secrets.token_urlsafe(64),
        "field_encryption_keys": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "postgres_password": secret(),
        "redis_password": secret(),
        "mqtt_password": secret(),
        "mqtt_admin_password": secret(),
        "enrolment_admin_password": secret(),
        "enrolment_bridge_password": secret(),
        "enrolment_bridge_clientid": secret(),
        "dock_mqtt_password": secret(),
    }


class Folder:
    """Where secrets are kept. Each is written once, whole or not at all, for its owner alone."""

    def __init__(self, path: Path, owner: tuple[int, int]) -> None:
        self.path, self.owner = path, owner
        self.made: list[str] = []
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        os.chown(path, *owner)

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def read(self, name: str) -> str:
        return (self.path / name).read_text()

    def write(self, name: str, content: str, *, again: bool = False) -> str:
        """Write the file unless it is there; return what it holds."""
        if self.has(name) and not again:
            return self.read(name)
        if self.has(name):  # a container that runs has this very file, so it stays, and its content changes
            (self.path / name).write_text(content)
            self.made.append(name)
            return content
        unfinished = self.path / f".{name}.unfinished"
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chown(unfinished, *self.owner)
        unfinished.rename(self.path / name)
        self.made.append(name)
        return content


def pem(key: rsa.RSAPrivateKey) -> str:
    """The key as a file, without a password: the broker starts without a person."""
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def named(name: str) -> x509.Name:
    """A certificate's subject; the full name is in its alternative names."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def make_authority(folder: Folder) -> None:
    """Make our own certificate authority, unless it is there."""
    if folder.has("ca.key") and folder.has("ca.crt"):
        return
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    name = named(f"Dock Cloud CA {NOW:%Y-%m-%d}")
    usage = dict.fromkeys(OTHER_USES, False)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(hours=1))
        .not_valid_after(NOW + datetime.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.write("ca.key", pem(key), again=True)
    folder.write("ca.crt", certificate.public_bytes(serialization.Encoding.PEM).decode(), again=True)


def make_certificate(folder: Folder, name: str, hosts: list[str], *, again: bool = False) -> None:
    """Make `name`.crt and `name`.key for these names and addresses, signed by our authority."""
    if folder.has(f"{name}.crt") and folder.has(f"{name}.key") and not again:
        return
    authority = x509.load_pem_x509_certificate(folder.read("ca.crt").encode())
    signer = serialization.load_pem_private_key(folder.read("ca.key").encode(), password=None)
    assert isinstance(signer, rsa.RSAPrivateKey)  # noqa: S101 - we made it
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)  # a size that every firmware can check
    certificate = (
        x509.CertificateBuilder(authority.subject, named(hosts[0]), key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(hours=1))
        .not_valid_after(NOW + datetime.timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName([alternative(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    chain = certificate.public_bytes(serialization.Encoding.PEM).decode() + folder.read("ca.crt")
    folder.write(f"{name}.key", pem(key), again=True)
    folder.write(f"{name}.crt", chain, again=True)


def is_ours(folder: Folder, name: str) -> bool:
    """Whether our authority signed this certificate; docks may not trust ours in the place of another."""
    return folder.has(f"{name}.crt") and folder.read(f"{name}.crt").endswith(folder.read("ca.crt"))


def alternative(host: str) -> x509.GeneralName:
    """A host as certificates have it: an address or a name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def take_certificate(folder: Folder, name: str, host: str, files: list[Path]) -> None:
    """Copy the operator's own certificate and key, after a look whether they are for this host and belong together."""
    chain, key = (path.read_bytes() for path in files)
    certificate = x509.load_pem_x509_certificate(chain)
    loaded = serialization.load_pem_private_key(key, password=None)
    encoded = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*encoded) != loaded.public_key().public_bytes(*encoded):
        raise RefusedError(f"{files[1]} is not the key of {files[0]}.")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    wildcard = f"*.{host.partition('.')[2]}"
    if alternative(host) not in names and x509.DNSName(wildcard) not in names:
        raise RefusedError(f"{files[0]} is not for {host}, but for {', '.join(str(name.value) for name in names)}.")
    folder.write(f"{name}.crt", chain.decode(), again=True)
    folder.write(f"{name}.key", key.decode(), again=True)


def make_certificates(given: argparse.Namespace, folder: Folder) -> None:
    """Make or take the certificates that are missing, with --renew all but the authority's."""
    make_authority(folder)
    make_certificate(folder, "inside", INSIDE, again=given.renew)
    if given.broker_certificate:
        if not folder.has("broker.crt") or given.renew:
            take_certificate(folder, "broker", given.broker_host, given.broker_certificate)
    else:
        again = given.renew and is_ours(folder, "broker")
        make_certificate(folder, "broker", [given.broker_host, *INSIDE], again=again)
    if given.site_certificate:
        if not folder.has("site.crt") or given.renew:
            take_certificate(folder, "site", given.host, given.site_certificate)
    elif given.own_site_certificate:
        make_certificate(folder, "site", [given.host], again=given.renew)
    else:  # Caddy has its own; compose.yaml names the files all the same
        folder.write("site.crt", "")
        folder.write("site.key", "")


def write_addresses(folder: Folder, where: dict[str, str]) -> None:
    """Write the addresses that hold a password, and the configuration files that do."""
    given = {name: folder.read(name).strip() for name in passwords()}
    folder.write("database_url", f"postgres://dock_cloud:{given['postgres_password']}@{where['postgres']}/dock_cloud")
    folder.write("redis_url", f"redis://:{given['redis_password']}@{where['redis']}")
    folder.write("mqtt_url", f"mqtts://dock-cloud:{given['mqtt_password']}@{where['mosquitto']}")
    folder.write("mqtt_admin_url", f"mqtts://admin:{given['mqtt_admin_password']}@{where['mosquitto']}")
    folder.write("enrolment_mqtt_admin_url", f"mqtts://admin:{given['enrolment_admin_password']}@{where['enrolment']}")
    bridge = f"enrolment-bridge:{given['enrolment_bridge_password']}"
    folder.write("enrolment_bridge_url", f"mqtts://{bridge}@{where['mosquitto']}")
    form = (Path(__file__).parent / "mosquitto/enrolment_bridge.conf").read_text()
    folder.write(
        "enrolment_bridge.conf",
        form.format(
            address=where["mosquitto"],
            password=given["enrolment_bridge_password"],
            local_clientid=given["enrolment_bridge_clientid"],
        ),
    )
    # Redis holds hints that can be lost: nothing is kept on disk.
    folder.write(
        "redis.conf",
        f'port 6379\nrequirepass {given["redis_password"]}\nsave ""\nappendonly no\nmaxmemory-policy noeviction\n',
    )


def arguments() -> argparse.Namespace:
    """What the operator chose."""
    parser = argparse.ArgumentParser(description="Makes all secrets and certificates of a first start, once.")
    add = parser.add_argument
    add("--host", required=True, help="name of the site: docks.example.com")
    add("--broker-host", help="name or address of the brokers, as docks reach them; else that of the site")
    add("--folder", type=Path, default=Path(__file__).parent, help="where .env and secrets/ go (%(default)s)")
    add("--without-containers", action="store_true", help="for the systemd units: everything is on this machine")
    add("--email", default="", help="where Let's Encrypt writes if the site's certificate is not renewed")
    add("--own-site-certificate", action="store_true", help="sign the site's certificate by our own authority")
    for name, why in (
        ("--site-certificate", "your own for the site, instead of Let's Encrypt"),
        ("--broker-certificate", "your own for the brokers, from a public authority that docks know"),
    ):
        add(name, nargs=2, type=Path, metavar=("CHAIN", "KEY"), help=f"{why}: two PEM files, the first the whole chain")
    add("--renew", action="store_true", help="make or take certificates again, and nothing else")
    given = parser.parse_args()
    given.broker_host = given.broker_host or given.host
    for host in (given.host, given.broker_host):
        if not HOST.fullmatch(host):
            parser.error(f"{host!r} is not a host name: write it without scheme and port")
    return given


def public_values(given: argparse.Namespace, owner: tuple[int, int]) -> dict[str, str]:
    """What .env says; no secret among it."""
    own = given.own_site_certificate or given.site_certificate
    site_tls = "tls /run/secrets/site.crt /run/secrets/site.key" if own else f"tls {given.email}" if given.email else ""
    return {
        "SITE_HOST": given.host,
        "SITE_TLS": site_tls,
        "PUBLIC_URL": f"https://{given.host}",
        "ALLOWED_HOSTS": f"{given.host},localhost,web",  # the last for Prometheus inside
        "DOCK_CLOUD_USER": f"{owner[0]}:{owner[1]}",
        "DOCK_MQTT_URL": f"ssl://{given.broker_host}:8883",
        "DOCK_ENROLMENT_URL": f"ssl://{given.broker_host}:8884",
        "DOCK_MQTT_USERNAME": ENROLLING,
        "DJI_APP_ID": "",
    }


def parsed(text: str) -> dict[str, str]:
    """Return the lines NAME=value of an environment file."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def refuse_another_setup(env: Path, folder: Folder, values: dict[str, str], expected: list[str]) -> None:
    """Refuse what would leave the files of one setup beside those of another."""
    before = parsed(env.read_text())
    for name in ("SITE_HOST", "DOCK_MQTT_URL"):
        if before.get(name) != values[name]:
            raise RefusedError(
                f"{env} says {name}={before.get(name)}, not {values[name]}. Nothing was changed. Edit that file "
                "if the name changes, or give an empty --folder to start anew."
            )
    if missing := [name for name in expected if not folder.has(name)]:
        raise RefusedError(
            f"{', '.join(missing)} missing in {folder.path}, and {env} says that the first start is done. Restore "
            "your backup: a new secret would not fit the data."
        )


def main() -> None:
    """Make what is missing, and say what comes next."""
    given = arguments()
    is_root = os.geteuid() == 0
    # In containers everything runs as one user; systemd hands each unit copies of its own.
    as_container = is_root and not given.without_containers
    owner = (CONTAINER_USER, CONTAINER_USER) if as_container else (os.getuid(), os.getgid())
    folder, env = Folder(given.folder / "secrets", owner), given.folder / ".env"
    values = public_values(given, owner)
    if env.exists():
        refuse_another_setup(env, folder, values, [*passwords(), "ca.crt", "broker.crt", "broker.key"])
    for name, value in passwords().items():
        folder.write(name, value)
    for name in GIVEN:
        folder.write(name, "")
    make_certificates(given, folder)
    if given.without_containers:
        where = {"postgres": "127.0.0.1:5432", "redis": "127.0.0.1:6379", "mosquitto": "localhost:8882",
                 "enrolment": "localhost:8881"}  # fmt: skip
    else:
        where = {"postgres": "postgres:5432", "redis": "redis:6379", "mosquitto": "mosquitto:8882",
                 "enrolment": "enrolment:8881"}  # fmt: skip
    write_addresses(folder, where)
    if not env.exists():  # last: its presence says that everything else is there
        lines = [f"{name}={value}" for name, value in values.items()]
        env.write_text("# Public values; the secrets are files in secrets/.\n" + "\n".join([*lines, ""]))
    say(given, folder, env)


def say(given: argparse.Namespace, folder: Folder, env: Path) -> None:
    """Print what was made, what a technician types, and the next commands."""
    made = f"Made in {folder.path}: {', '.join(sorted(folder.made))}" if folder.made else "Nothing was missing."
    if given.without_containers:
        following = 'the commands that follow in docs/operations.md, "First start without containers"'
    else:
        compose = f"docker compose -f {given.folder / 'compose.yaml'}"
        following = f"{compose} up --detach --wait\n  {compose} exec web python manage.py createsuperuser"
    own = "" if given.broker_certificate else OWN_CERTIFICATE.format(ca=folder.path / "ca.crt", host=given.broker_host)
    sys.stdout.write(f"""\
{made}

Back up {folder.path} and {env}: without field_encryption_keys and secret_key a copy of the database is not enough.

An account for DJI Pilot 2 that all new docks may share (each onboarding sheet makes one of its own, which expires):
  MQTT gateway address   ssl://{given.broker_host}:8884
  MQTT account           {ENROLLING}
  MQTT password          {folder.read("dock_mqtt_password").strip()}
{own}
Next: fill in DJI_APP_ID in {env}, dji_app_key and dji_app_license in {folder.path}, then
  {following}
and sign in at https://{given.host}/admin/
""")


OWN_CERTIFICATE = """
The brokers' certificate is signed by our own authority, {ca}. DJI says only that docks and Pilot 2 accept certificates
of GoDaddy. If a dock does not connect, get a certificate for {host} from a public authority and run this again with
  --renew --broker-certificate FULL_CHAIN.pem KEY.pem
"""

if __name__ == "__main__":
    try:
        main()
    except RefusedError as error:
        sys.exit(f"first_start: {error}")
