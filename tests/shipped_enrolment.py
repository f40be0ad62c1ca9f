"""The enrolment broker as we ship it, beside the main one: both from the files in deploy/mosquitto."""

import os
from urllib.parse import quote

from cloudapi.embedded.lifecycle import free_port
from cloudapi.embedded.servers import HOST, Mosquitto
from tests.shipped_broker import with_plugin
from tests.stack import ROOT

FOLDER = ROOT / "deploy/mosquitto"
BRIDGE = ("enrolment-bridge", "the password of the enrolment broker")
ENROLMENT = ("enrolment", "what many docks share")
CLIENT_ID = "only the enrolment broker knows it"


class EnrolmentBroker(Mosquitto):
    """`port` is of the listener for its administrator, `dock_port` of that for docks. `main` is a ShippedBroker."""

    def __init__(self, main):
        super().__init__()
        self.main = main
        self.dock_port = 0
        self.security = self.directory / "dynamic-security.json"

    @property
    def dock_url(self):
        """As a dock without its own account reaches it."""
        return self.address(*ENROLMENT, port=self.dock_port)

    def address(self, username, password, *, port):
        return f"mqtts://{quote(username)}:{quote(password)}@localhost:{port}"

    def command(self):
        """The shipped files with the paths, ports and user of this test."""
        if not self.is_port_fixed:
            self.dock_port = free_port()
        secrets = self.directory / "secrets"
        secrets.mkdir(exist_ok=True)
        bridge = (FOLDER / "enrolment_bridge.conf").read_text()
        filled = bridge.format(address=f"localhost:{self.main.port}", password=BRIDGE[1], local_clientid=CLIENT_ID)
        authority = {"/run/secrets/ca.crt": self.main.authority.ca_file}
        (secrets / "bridge.conf").write_text(self._replace(filled, authority))
        text = self._replace(
            with_plugin((FOLDER / "enrolment.conf").read_text(), self.program),
            {
                "/var/lib/mosquitto/": f"{self.directory}/",
                "/run/secrets/inside.crt": self.main.certificate,
                "/run/secrets/inside.key": self.main.key,
                "/run/secrets/broker.crt": self.main.certificate,
                "/run/secrets/broker.key": self.main.key,
                "include_dir /run/secrets": f"include_dir {secrets}",
                "listener 8881\n": f"listener {self.port} {HOST}\n",
                "listener 8884\n": f"listener {self.dock_port} {HOST}\n",
            },
        )
        if os.geteuid() == 0:
            text = f"user root\n{text}"  # else it becomes a user who may not read its folder
        configuration = self.directory / "enrolment.conf"
        configuration.write_text(text)
        return [str(self.program.path), "-c", str(configuration)]

    @staticmethod
    def _replace(text, changes):
        for shipped, ours in changes.items():
            assert shipped in text, f"no {shipped!r} any more"
            text = text.replace(shipped, str(ours))
        return text

    def answers(self, pid):
        """Look in its log: whoever asks without TLS gets no answer."""
        return " running" in self.log.read_text(errors="replace")
