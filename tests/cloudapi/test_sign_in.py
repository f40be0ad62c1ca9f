"""Guessing passwords at the admin's door."""

import pytest
from django.test import Client


def sign_in(client, password):
    return client.post("/admin/login/?next=/admin/", {"username": "alice", "password": password})


@pytest.mark.usefixtures("alice")
def test_the_right_password_opens(client):
    assert sign_in(client, "right password").status_code == 302


@pytest.mark.usefixtures("alice")
def test_the_sixth_try_is_refused_with_the_right_password(client):
    for _ in range(5):
        assert "_auth_user_id" not in sign_in(client, "wrong").wsgi_request.session
    assert sign_in(client, "right password").status_code == 429
    assert client.get("/admin/").status_code == 302


@pytest.mark.usefixtures("alice")
def test_a_sign_in_without_csrf_token_is_refused():
    assert sign_in(Client(enforce_csrf_checks=True), "right password").status_code == 403
