"""Members in the admin: roles and removals, within one's own organization. How they join: test_invitations.py."""

import threading
from datetime import UTC, datetime

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import Client

from organizations import rights
from organizations.models import AuditEvent, Membership, Role
from tests.stack import wait_for

LIST = "/admin/organizations/membership/"


@pytest.fixture
def page(client, alice):
    client.force_login(alice)
    return client


def membership(user):
    return Membership.objects.get(user=user)


@pytest.mark.parametrize("visitor", ["staff", "alice"])
def test_nobody_is_made_a_member_without_being_asked(client, request, visitor, organization, charlie):
    client.force_login(request.getfixturevalue(visitor))
    wanted = {"username": "charlie", "user": charlie.pk, "organization": organization.pk, "role": "viewer"}
    assert client.post(f"{LIST}add/", wanted).status_code == 403
    assert not organization.memberships.filter(user=charlie).exists()


@pytest.mark.parametrize(("visitor", "told"), [("staff", True), ("alice", False), ("bob", False)])
def test_the_last_sign_in_is_for_platform_staff(client, request, visitor, told, organization, bob):
    viewer = request.getfixturevalue(visitor)
    client.force_login(viewer)
    get_user_model().objects.filter(pk=bob.pk).update(last_login=datetime(2031, 2, 3, tzinfo=UTC))
    for url in (LIST, f"{LIST}{membership(bob).pk}/change/"):
        assert ("2031" in client.get(url).content.decode()) == told, url
    assert "2031" not in client.get(f"/admin/organizations/organization/{organization.pk}/change/").content.decode()
    for query in ({"user__last_login__gte": "2031-01-01"}, {"user__last_login": "2031-02-03"}):
        assert client.get(LIST, query).status_code == 400


def test_a_manager_raises_nobody_elsewhere(page, charlie, alice, other_organization):
    Membership.objects.create(user=alice, organization=other_organization, role=Role.VIEWER)
    own = Membership.objects.get(user=alice, organization=other_organization)
    response = page.post(f"{LIST}{own.pk}/change/", {"role": "manager", "user": alice.pk})
    assert response.status_code == 403
    own.refresh_from_db()
    assert own.role == Role.VIEWER


def test_a_membership_stays_in_its_organization_and_with_its_user(page, bob, charlie, other_organization):
    row = membership(bob)
    page.post(
        f"{LIST}{row.pk}/change/", {"role": "operator", "organization": other_organization.pk, "user": charlie.pk}
    )
    row.refresh_from_db()
    assert (row.role, row.user, row.organization.name) == (Role.OPERATOR, bob, "Harbour Survey")
    assert AuditEvent.objects.get(action="change").after == {"role": "operator"}


def test_a_manager_cannot_remove_or_lower_the_last_manager(page, alice):
    row = membership(alice)
    assert page.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert page.post(f"{LIST}{row.pk}/change/", {"role": "viewer"}).context["errors"]
    assert membership(alice).role == Role.MANAGER


def test_one_of_two_managers_may_go(page, alice, bob):
    Membership.objects.filter(user=bob).update(role=Role.MANAGER)
    assert page.post(f"{LIST}{membership(alice).pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Membership.objects.filter(user=alice).exists()
    assert AuditEvent.objects.filter(action="delete").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", ["delete/", "change/"])
def test_two_managers_who_remove_each_other_leave_one(organization, alice, bob, step):
    """Bob's removal of Alice has locked what her removal of him waits for; then it sees that he is the last."""
    Membership.objects.filter(user=bob).update(role=Role.MANAGER)
    page = f"{LIST}{membership(bob).pk}/{step}"
    hers = Client()
    hers.force_login(alice)

    def remove():
        hers.post(page, {"post": "yes", "role": "viewer"})
        connection.close()

    thread = threading.Thread(target=remove)
    with transaction.atomic():
        assert not rights.is_last_manager(membership(alice))
        thread.start()
        wait_for(lambda: waiting() or not thread.is_alive())
        Membership.objects.filter(user=alice).update(role=Role.VIEWER)
    thread.join(60)
    managers = Membership.objects.filter(organization=organization, role=Role.MANAGER)
    assert [row.user for row in managers] == [bob]


def waiting():
    """Whether somebody waits for a lock in this database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # which a transaction keeps
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return cursor.fetchone()[0]


def test_platform_staff_may_remove_the_last_manager(client, staff, alice):
    client.force_login(staff)
    client.post(f"{LIST}{membership(alice).pk}/delete/", {"post": "yes"})
    assert not Membership.objects.exists()


@pytest.mark.parametrize("visitor", ["alice", "bob"])
def test_users_are_for_platform_staff(client, request, visitor):
    user = request.getfixturevalue(visitor)
    client.force_login(user)
    assert client.get("/admin/auth/user/").status_code == 403
    assert client.get(f"/admin/auth/user/{user.pk}/change/").status_code == 403
    assert client.post(f"/admin/auth/user/{user.pk}/change/", {"is_superuser": "on"}).status_code == 403
    assert client.post(f"/admin/auth/user/{user.pk}/password/", {}).status_code == 403
    user.refresh_from_db()
    assert not user.is_superuser


def test_a_new_password_by_staff_is_audited(client, staff, bob):
    client.force_login(staff)
    new = {"password1": "Quay-side 9", "password2": "Quay-side 9", "usable_password": "true", "set-password": "1"}
    client.post(f"/admin/auth/user/{bob.pk}/password/", new)
    bob.refresh_from_db()
    assert bob.check_password("Quay-side 9")
    event = AuditEvent.objects.get(object_type="auth.User")
    assert (event.action, event.user) == ("change", staff)
    assert "Quay" not in str(event.after)
