"""Members in the admin: named, invited, raised and removed, each within her own organization."""

import re
from datetime import UTC, datetime

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from organizations.models import AuditEvent, Membership, Role

LIST = "/admin/organizations/membership/"
LINK = re.compile(r"http://127\.0\.0\.1:8000(/welcome/[^<\s]+)")


@pytest.fixture
def page(client, alice):
    client.force_login(alice)
    return client


def add(client, organization, username, role=Role.VIEWER):
    return client.post(f"{LIST}add/", {"username": username, "organization": organization.pk, "role": role.value})


def membership(user):
    return Membership.objects.get(user=user)


def test_an_existing_user_is_added_by_name(page, organization, charlie):
    assert add(page, organization, "charlie", Role.OPERATOR).status_code == 302
    added = Membership.objects.get(user=charlie, organization=organization)
    assert added.role == Role.OPERATOR
    assert AuditEvent.objects.get(action="add").after == {"username": "charlie", "role": "operator"}


def test_a_new_name_makes_a_user_who_sets_her_password_once(page, organization):
    response = add(page, organization, "dora")
    dora = get_user_model().objects.get(username="dora")
    assert "no-store" in response["Cache-Control"]
    assert dora.is_staff
    assert not dora.is_superuser
    assert not dora.has_usable_password()
    link = LINK.search(response.content.decode()).group(1)
    visitor = Client()
    form = visitor.get(link, follow=True)
    answer = visitor.post(form.redirect_chain[-1][0], {"new_password1": "Quay-side 9", "new_password2": "Quay-side 9"})
    assert answer["Location"] == "/admin/login/"
    dora.refresh_from_db()
    assert dora.check_password("Quay-side 9")
    assert "invalid" in Client().get(link, follow=True).content.decode()


def test_the_link_is_on_no_page_and_in_no_row(page, organization):
    link = LINK.search(add(page, organization, "dora").content.decode()).group(1)
    assert link not in "".join(str(row) for row in AuditEvent.objects.values())
    dora = Membership.objects.get(user__username="dora")
    assert "/welcome/" not in page.get(f"{LIST}{dora.pk}/change/").content.decode()


def test_a_lost_link_is_made_anew(page, organization):
    add(page, organization, "dora")
    dora = Membership.objects.get(user__username="dora")
    assert LINK.search(page.post(f"{LIST}{dora.pk}/invite/").content.decode())


@pytest.mark.usefixtures("bob")
def test_no_link_for_somebody_who_has_a_password(page, bob):
    assert page.post(f"{LIST}{membership(bob).pk}/invite/").status_code == 403


def test_no_link_for_somebody_who_is_a_member_elsewhere_too(page, organization, charlie, other_organization):
    charlie.set_unusable_password()
    charlie.save()
    response = add(page, organization, "charlie")
    assert response.status_code == 302
    added = Membership.objects.get(user=charlie, organization=organization)
    assert page.post(f"{LIST}{added.pk}/invite/").status_code == 403


def test_a_viewer_makes_no_link(client, bob, organization, alice):
    alice.set_unusable_password()
    alice.save()
    client.force_login(bob)
    assert client.post(f"{LIST}{membership(alice).pk}/invite/").status_code == 403


@pytest.mark.usefixtures("charlie")
def test_members_of_other_organizations_are_no_choice(page):
    text = page.get(f"{LIST}add/").content.decode()
    assert "charlie" not in text
    assert "Northern" not in text


@pytest.mark.usefixtures("staff")
def test_platform_staff_are_not_added_and_not_told_apart(page, organization):
    get_user_model().objects.create_user("retired", is_staff=True, is_active=False)
    errors = [add(page, organization, name).context["errors"].as_text() for name in ("root", "ROOT", "retired")]
    assert len(set(errors)) == 1
    assert "This name cannot be added here." in errors[0]
    assert not Membership.objects.filter(user__is_superuser=True).exists()


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


@pytest.mark.parametrize("name", ["no spaces", "alice", "retired"])
def test_a_name_that_cannot_be_added_is_refused(page, organization, name):
    get_user_model().objects.create_user("retired", is_staff=True, is_active=False)
    assert add(page, organization, name).context["errors"]
    assert Membership.objects.count() == 1


def test_nobody_is_added_to_an_organization_that_is_not_hers(page, other_organization, bob):
    assert add(page, other_organization, "bob", Role.MANAGER).context["errors"]
    assert add(page, other_organization, "alice", Role.MANAGER).context["errors"]
    assert not Membership.objects.filter(organization=other_organization).exists()


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
