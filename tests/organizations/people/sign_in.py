"""What the tests of signing in share: an authenticator app, and the pages as a person fills them."""

import re
import time

import pyotp

from organizations.people import second_factor

PASSWORD = "right password"
LOGIN = "/admin/login/"
CODE = "/sign-in/code/"
SET_UP = "/second-factor/set-up/"
OWN = "/second-factor/"
DEVICES = "/admin/devices/device/"


class App:
    """An authenticator app on somebody's phone."""

    def __init__(self, secret):
        self.totp = pyotp.TOTP(secret)
        self.used = 0  # steps ahead of the clock: no code is believed twice

    def code(self, *, steps=0):
        return self.totp.at(time.time(), counter_offset=steps)

    def next(self):
        """A code that was not used in this test before; the server takes one of the next 30 s."""
        self.used += 1
        assert self.used <= 2, "travel on: only two codes are valid at a time"
        return self.code(steps=self.used - 1)


def with_second_factor(user):
    """Set it up; returns the user's app, which used one code for that, and the recovery codes."""
    factor = second_factor.begin(user)
    app = App(factor.secret)
    codes = second_factor.confirm(user, app.code(steps=-1))
    codes = codes or second_factor.confirm(user, app.code(steps=-1))  # a step of 30 s ended between the two
    assert len(codes) == 10
    return app, codes


def give_password(client, name, password=PASSWORD, *, then="/admin/"):
    return client.post(f"{LOGIN}?next={then}", {"username": name, "password": password, "next": then})


def give_code(client, code):
    return client.post(CODE, {"code": code})


def secret_on(page):
    return re.search(r'id="key">([A-Z2-7]+)<', page.content.decode())[1]


def codes_on(page):
    return re.findall(r"\b[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}\b", page.content.decode())


def may_enter(client):
    """Whether this session opens the admin and REST."""
    admin = client.get(DEVICES).status_code == 200
    rest = client.get("/api/v1/devices/").status_code == 200
    assert admin == rest
    return admin
