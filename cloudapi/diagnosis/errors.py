"""Errors of connections, which systems and libraries say in English, in words of the reader's language."""

from typing import Final

from django.utils.translation import get_language, gettext, gettext_lazy, gettext_noop

from organizations.language import stored

# Parts of what OpenSSL, the operating system and clients say, in lower case.
USUAL: Final = {
    "certificate has expired": gettext_lazy("the certificate has expired"),
    "connection refused": gettext_lazy("connection refused"),
    "connection reset": gettext_lazy("connection reset"),
    "network is unreachable": gettext_lazy("the network cannot be reached"),
    "no address associated": gettext_lazy("the host name is not found"),
    "no route to host": gettext_lazy("the host cannot be reached"),
    "no such file": gettext_lazy("the file is not there"),
    "not authorized": gettext_lazy("wrong user name or password"),
    "bad user name or password": gettext_lazy("wrong user name or password"),
    "password authentication failed": gettext_lazy("wrong user name or password"),
    "name or service not known": gettext_lazy("the host name is not found"),
    "name resolution": gettext_lazy("the host name is not found"),
    "permission denied": gettext_lazy("permission denied"),
    "self-signed": gettext_lazy("the certificate is self-signed"),
    "timed out": gettext_lazy("no answer in time"),
    "did not answer in time": gettext_lazy("no answer in time"),
}
# What `mqtt_bridge.line` makes of them, which knows no languages.
SENTENCES: Final = (
    gettext_noop("the certificate has expired"),
    gettext_noop("the certificate is not valid yet; is this server's clock right?"),
    gettext_noop("the certificate is not for the host name {host}"),
    gettext_noop("the certificate is signed by an unknown authority: name its CA certificate (MQTT_CA_FILE)"),
    gettext_noop("the broker requires a client certificate (MQTT_CLIENT_CERT_FILE, MQTT_CLIENT_KEY_FILE)"),
    gettext_noop("the broker refuses our client certificate (MQTT_CLIENT_CERT_FILE)"),
    gettext_noop("the broker refuses our client certificate (MQTT_CLIENT_CERT_FILE): it has expired"),
    gettext_noop("the broker refuses our client certificate (MQTT_CLIENT_CERT_FILE): it is revoked"),
    gettext_noop(
        "the broker refuses our client certificate (MQTT_CLIENT_CERT_FILE): "
        "signed by an authority that it does not know"
    ),
    gettext_noop("the broker offers no TLS 1.2 or newer"),
    gettext_noop("there seems to be no TLS at this port: write mqtt:// for a plain one"),
    gettext_noop("the broker hung up: there seems to be no TLS at this port: write mqtt:// for a plain one"),
    gettext_noop("the broker hung up before it answered: a port with TLS needs mqtts://"),
    gettext_noop("the broker hung up before it answered: it may require a client certificate (MQTT_CLIENT_CERT_FILE)"),
    gettext_noop("the broker hung up before it answered: it may refuse our client certificate (MQTT_CLIENT_CERT_FILE)"),
)


def in_words(error: object) -> str:
    """What went wrong: in English as it was said, in other languages in words, with the unexplained error behind them.

    What is not known here stays as it is.
    """
    raw = str(error).replace("the broker's", "the")
    said = stored.shown(raw)
    if said == raw and not (get_language() or "en").startswith("en"):
        for part, text in USUAL.items():
            if part in raw.lower():
                return gettext("{words} ({raw})").format(words=text, raw=raw)
    return said
