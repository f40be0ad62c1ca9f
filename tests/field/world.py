"""A dock's end of the broker and an operator's end of the server, in plain calls."""

import html
import itertools
import json
import re
import threading
import uuid

import requests
from paho.mqtt.client import CallbackAPIVersion, Client

from mqtt_bridge.line.client import parse_url
from tests.stack import CODE, OTHER_CODE, wait_for

STAFF = """
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from organizations.people.sessions import SessionStore
user = get_user_model().objects.create_superuser("root", "root@example.org", "right password")
session = SessionStore()
session.update({
    SESSION_KEY: str(user.pk),
    BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[-1],
    HASH_SESSION_KEY: user.get_session_auth_hash(),
})
session.save()
print(session.session_key)
"""
REPLY_TOPICS = [
    f"{prefix}/product/+/{channel}"
    for prefix in ("thing", "sys")
    for channel in ("requests_reply", "events_reply", "status_reply", "state_reply", "services")
]


class World:
    """Whatever a dock may say, and whatever platform staff may see or do; lasts for the whole run of a worker."""

    def __init__(self, stack):
        self.stack = stack
        self.kind = stack.database.name
        self._numbers = itertools.count(1)
        self._replies = {}
        self._new_reply = threading.Condition()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="field")
        address = parse_url(stack.broker.url)
        if address.username:
            self._client.username_pw_set(address.username, address.password)
        subscribed = threading.Event()
        self._client.on_connect = lambda client, *_: client.subscribe([(topic, 1) for topic in REPLY_TOPICS])
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = self._receive
        self._client.connect(address.host, address.port)
        self._client.loop_start()
        assert subscribed.wait(60)
        self._web = None
        self._http = requests.Session()

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
        self._http.close()

    # --- a dock ---

    def new_sn(self, name="DOCK"):
        """A serial number that no other test has."""
        return f"7F{name}{next(self._numbers):04}"

    def say(self, topic, message, *, qos=1):
        """Publish bytes, text or JSON, and wait until the broker has it."""
        payload = message if isinstance(message, bytes | str) else json.dumps(message)
        self._client.publish(topic, payload, qos=qos).wait_for_publish(60)

    def ask(self, sn, channel, method, data, *, prefix=None, seconds=60, **envelope):
        """Send one message as a dock does and return the `data` of the answer."""
        prefix = prefix or ("sys" if channel == "status" else "thing")
        tid = str(uuid.uuid4())
        message = {"tid": tid, "bid": tid, "timestamp": 1700000000000, "method": method, "data": data} | envelope
        self.say(f"{prefix}/product/{sn}/{channel}", message)
        return self.reply(f"{prefix}/product/{sn}/{channel}_reply", tid, seconds)

    def reply(self, topic, tid, seconds=60):
        """The `data` of the answer to this `tid` on this topic."""
        with self._new_reply:
            assert self._new_reply.wait_for(lambda: (topic, tid) in self._replies, seconds), f"no answer on {topic}"
            return self._replies[topic, tid]

    def bind(self, *devices, gateway=None, organization_id="12345678", code=CODE):
        """Ask to bind these (serial number, model key) pairs, the first being the gateway; returns their err_codes."""
        entries = [
            {
                "sn": sn,
                "device_model_key": key,
                "device_callsign": f"Callsign {sn}",
                "organization_id": organization_id,
                "device_binding_code": code,
            }
            for sn, key in devices
        ]
        reply = self.ask(gateway or devices[0][0], "requests", "airport_organization_bind", {"bind_devices": entries})
        return [info["err_code"] for info in reply["output"]["err_infos"]]

    def bind_elsewhere(self, *devices, **options):
        """The same with the code of the other organization."""
        return self.bind(*devices, organization_id="87654321", code=OTHER_CODE, **options)

    def topology(self, sn, *aircraft, **data):
        """`update_topo` of a Dock 3 with these (serial number, type, sub_type) as its sub-devices."""
        subs = [
            {"sn": sub, "domain": "0", "type": type_, "sub_type": sub_type, "index": "A"}
            for sub, type_, sub_type in aircraft
        ]
        own = {"domain": "3", "type": 3, "sub_type": 0, "sub_devices": subs} | data
        return self.ask(sn, "status", "update_topo", own)

    def osd(self, sn, gateway=None, **data):
        """One frame of properties of a dock, or of an aircraft behind its `gateway`; nobody answers it."""
        message = {"tid": str(uuid.uuid4()), "bid": "", "timestamp": 1700000000000, "gateway": gateway or sn}
        self.say(f"thing/product/{sn}/osd", message | {"data": data}, qos=0)

    def state(self, sn, gateway=None, **data):
        """The same on the channel for what changes seldom."""
        message = {"tid": str(uuid.uuid4()), "bid": "", "timestamp": 1700000000000, "gateway": gateway or sn}
        self.say(f"thing/product/{sn}/state", message | {"data": data}, qos=0)

    def _receive(self, _client, _userdata, message):
        try:
            envelope = json.loads(message.payload)
        except ValueError:
            return
        with self._new_reply:
            self._replies[message.topic, envelope.get("tid")] = envelope.get("data")
            self._new_reply.notify_all()

    # --- an operator ---

    @property
    def http(self):
        """Platform staff, signed in, at a web process that starts when it is first asked for."""
        if self._web is None:
            self._http.cookies.set("sessionid", self.stack.manage("shell", "-v0", "-c", STAFF).strip())
            self._web = self.stack.start_web()
            self.address = f"http://{self._web.host}"
        return self._http

    def get(self, path, **parameters):
        """The JSON of a REST resource below /api/v1/."""
        answer = self.http.get(f"{self.address}/api/v1/{path}", params=parameters, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def page(self, path, *, status=200):
        """The words on a page of the admin, as a person reads them, without markup."""
        answer = self.http.get(f"{self.address}/admin/{path}", timeout=60)
        assert answer.status_code == status, answer.text[:2000]
        without_scripts = re.sub(r"(?s)<(script|style)\b.*?</\1>", " ", answer.text)
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", without_scripts)).split())

    def post(self, path, data=None, *, status=(200, 201)):
        """Post to REST, with the token that a session needs; returns the JSON of the answer."""
        session = self.http
        session.get(f"{self.address}/admin/", timeout=60)
        headers = {"X-CSRFToken": session.cookies.get("csrftoken", ""), "Referer": self.address}
        answer = session.post(f"{self.address}/api/v1/{path}", json=data or {}, headers=headers, timeout=60)
        assert answer.status_code in status, answer.text
        return answer.json()

    def patch(self, path, data):
        """Change a REST resource."""
        session = self.http
        session.get(f"{self.address}/admin/", timeout=60)
        headers = {"X-CSRFToken": session.cookies.get("csrftoken", ""), "Referer": self.address}
        answer = session.patch(f"{self.address}/api/v1/{path}", json=data, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text

    def device(self, sn):
        """The device in REST, with its state."""
        return self.get(f"devices/{sn}/", include="state")

    def device_page(self, sn):
        """The words on the device's page."""
        return self.page(f"devices/device/{self.key_of(sn)}/change/")

    def key_of(self, sn):
        """The primary key of the device with this serial number, None if there is none."""
        rows = self.stack.rows(f"SELECT id FROM devices_device WHERE sn = '{sn}'")
        return rows[0][0] if rows else None

    def eventually(self, question, seconds=60):
        """Wait until telemetry, which nobody acknowledges, has arrived: until `question()` is true."""
        wait_for(question, seconds)
