"""The broker as we ship it: a Mosquitto from deploy/mosquitto/mosquitto.conf, on free ports of loopback."""

import os
import re
from urllib.parse import quote

from cloudapi.embedded.lifecycle import free_port
from cloudapi.embedded.servers import HOST, Mosquitto
from tests.certificates import Authority
from tests.stack import ROOT

SHIPPED = ROOT / "deploy/mosquitto/mosquitto.conf"
ADMIN = ("admin", "an administrator's password")
SERVER = ("dock-cloud", "the password of bridge and workers")


def with_plugin(text, program):
    """A shipped configuration with the plugin that came with this Mosquitto."""
    [plugin, *_] = (program.path.resolve().parent.parent / "lib").rglob("mosquitto_dynamic_security.so")
    text, count = re.subn(r"^plugin .*$", f"plugin {plugin}", text, flags=re.MULTILINE)
    assert count == 1, "the plugin is not loaded any more"
    return text


class ShippedBroker(Mosquitto):
    """`port` is of the listener for our own processes, `dock_port` of that for docks; both speak TLS.

    Its first start needs the file `security`, which `manage.py mqtt_acl --init` writes.
    """

    def __init__(self, *, access_list=True):
        """Without `access_list` everybody may do everything, under any client id."""
        super().__init__()
        self.access_list = access_list
        self.dock_port = 0
        self.security = self.directory / "dynamic-security.json"
        self.authority = Authority(self.directory)
        self.certificate, self.key = self.authority.issue("broker", hosts=["localhost", HOST])

    @property
    def url(self):
        """As the bridge and the workers reach it."""
        return self.address(*SERVER, port=self.port)

    @property
    def admin_url(self):
        """As `manage.py mqtt_acl` reaches it."""
        return self.address(*ADMIN, port=self.port)

    def dock_url(self, username, password):
        """As a dock reaches it."""
        return self.address(username, password, port=self.dock_port)

    def address(self, username, password, *, port):
        return f"mqtts://{quote(username)}:{quote(password)}@localhost:{port}"

    @property
    def settings(self):
        """What our processes need to know, as environment variables."""
        return {"MQTT_URL": self.url, "MQTT_ADMIN_URL": self.admin_url, "MQTT_CA_FILE": str(self.authority.ca_file)}

    def command(self):
        """The shipped file with the paths, ports and user of this test."""
        if not self.is_port_fixed:
            self.dock_port = free_port()
        text = with_plugin(SHIPPED.read_text(), self.program)
        for shipped, ours in {
            "/var/lib/mosquitto/": f"{self.directory}/",
            "/run/secrets/broker.crt": str(self.certificate),
            "/run/secrets/broker.key": str(self.key),
            "/run/secrets/inside.crt": str(self.certificate),
            "/run/secrets/inside.key": str(self.key),
            "listener 8882\n": f"listener {self.port} {HOST}\n",
            "listener 8883\n": f"listener {self.dock_port} {HOST}\n",
        }.items():
            assert shipped in text, f"{SHIPPED.name} has no {shipped!r} any more"
            text = text.replace(shipped, ours)
        if not self.access_list:
            text = re.sub(
                r"^(plugin|plugin_opt_config_file|use_username_as_clientid) .*$", "", text, flags=re.MULTILINE
            )
            text = text.replace("allow_anonymous false", "allow_anonymous true")
        if os.geteuid() == 0:
            text = f"user root\n{text}"  # else it becomes a user who may not read its folder
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(text)
        return [str(self.program.path), "-c", str(configuration)]

    def answers(self, pid):
        """Look in its log: whoever asks without TLS gets no answer."""
        return " running" in self.log.read_text(errors="replace")
