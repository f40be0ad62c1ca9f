"""TLS to the broker: whom we trust, who we are, and what its errors mean."""

import ssl
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple


class Certificates(NamedTuple):
    """Files in PEM format."""

    ca_file: str = ""  # who may have signed the broker's certificate; empty: whom the system trusts
    client_cert_file: str = ""  # how we prove who we are, for a broker that wants it
    client_key_file: str = ""  # empty: the key is in the file of the certificate
    is_system_trusted: bool = False  # beside `ca_file`, which else stands alone


DEFAULT_CERTIFICATES = Certificates()


def build_context(certificates: Certificates) -> ssl.SSLContext:
    """Verifies the broker's certificate and host name, TLS 1.2 or newer; raises OSError for a file that is no use.

    All connections share one, which is made again when a file has changed: with the system's list of authorities each
    takes a megabyte and 20 ms.
    """
    system = ssl.get_default_verify_paths().cafile or ""
    files = (certificates.ca_file or system, certificates.client_cert_file, certificates.client_key_file)
    return _build(certificates, tuple(Path(file).stat().st_mtime_ns for file in files if file))


class _Socket(ssl.SSLSocket):
    """Closed when a handshake fails: paho forgets it then."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


@lru_cache(maxsize=8)
def _build(certificates: Certificates, _changed: tuple[int, ...]) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=None if certificates.is_system_trusted else certificates.ca_file or None)
    if certificates.is_system_trusted and certificates.ca_file:
        made.load_verify_locations(certificates.ca_file)
    made.sslsocket_class = _Socket
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificates.client_cert_file:
        # With a password OpenSSL asks nobody for one: an encrypted key is refused.
        made.load_cert_chain(certificates.client_cert_file, certificates.client_key_file or None, password="")
    return made


_UNKNOWN_CA = "the broker's certificate is signed by an unknown authority: name its CA certificate (MQTT_CA_FILE)"
_WANTS_CERTIFICATE = "the broker requires a client certificate (MQTT_CLIENT_CERT_FILE, MQTT_CLIENT_KEY_FILE)"
_REFUSED = "the broker refuses our client certificate (MQTT_CLIENT_CERT_FILE)"
_NO_TLS = "there seems to be no TLS at this port: write mqtt:// for a plain one"
# OpenSSL's words, and what they mean here. An "alert" is what the broker said about us.
_CAUSES = {
    "certificate has expired": "the broker's certificate has expired",
    "certificate is not yet valid": "the broker's certificate is not valid yet; is this server's clock right?",
    "certificate is not valid for": "the broker's certificate is not for the host name {host}",
    "unable to get local issuer": _UNKNOWN_CA,
    "unable to verify the first": _UNKNOWN_CA,
    "self-signed": _UNKNOWN_CA,
    "self signed": _UNKNOWN_CA,  # OpenSSL 1.1.1
    "alert certificate required": _WANTS_CERTIFICATE,
    "alert handshake failure": _WANTS_CERTIFICATE,  # TLS 1.2
    "alert certificate expired": f"{_REFUSED}: it has expired",
    "alert unknown ca": f"{_REFUSED}: signed by an authority that it does not know",
    "alert bad certificate": _REFUSED,
    "alert certificate unknown": _REFUSED,
    "alert certificate revoked": f"{_REFUSED}: it is revoked",
    "alert protocol version": "the broker offers no TLS 1.2 or newer",
    "unsupported protocol": "the broker offers no TLS 1.2 or newer",
    "wrong version number": _NO_TLS,
    "eof occurred": f"the broker hung up: {_NO_TLS}",
    "connection reset by peer": f"the broker hung up: {_NO_TLS}",
}


def explain(error: str, host: str) -> str:
    """What an error in a TLS connection to this host means, or the error itself."""
    return next((cause.format(host=host) for words, cause in _CAUSES.items() if words in error.lower()), error)
