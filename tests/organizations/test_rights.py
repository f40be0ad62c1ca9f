"""Who may do what: users by membership, API keys by their own role."""

import pytest
from django.contrib.auth.models import AnonymousUser

from organizations import rights
from organizations.models import Membership, Organization, Role
from organizations.tenancy import is_platform_staff, restrict
from tests.api import make_key

ROLES = list(Role)


@pytest.mark.parametrize("held", ROLES)
@pytest.mark.parametrize("asked", ROLES)
def test_a_key_may_what_its_role_includes_in_its_organization_alone(organization, other_organization, held, asked):
    found = rights.of(make_key(organization, held))
    allowed = ROLES.index(held) >= ROLES.index(asked)
    assert found.may(asked, organization.pk) is allowed
    assert found.may(asked, anywhere=True) is allowed
    assert not found.may(asked, other_organization.pk)
    assert not found.may(asked)


def test_no_key_is_platform_staff(organization):
    key = make_key(organization, Role.MANAGER)
    key.is_superuser = True  # were it ever to have such a thing
    key.revoked = True
    assert not is_platform_staff(key)
    assert not rights.of(make_key(organization)).may(None, organization.pk)


def test_the_rights_of_a_key_cost_no_query(viewer_key, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert rights.of(viewer_key).may(Role.VIEWER, viewer_key.organization_id)


def test_a_key_that_was_revoked_meanwhile_may_nothing(manager_key):
    found = rights.of(manager_key)
    manager_key.revoked = True
    assert not found.may(Role.VIEWER, manager_key.organization_id)
    assert not found.readable(Organization.objects.all(), Role.VIEWER).exists()


@pytest.mark.parametrize(("role", "names"), [(Role.VIEWER, ["Harbour Survey"]), (Role.MANAGER, [])])
def test_a_key_reads_its_organization_as_far_as_its_role_goes(operator_key, other_organization, role, names):
    found = rights.of(operator_key).readable(Organization.objects.all(), role)
    assert [row.name for row in found] == names


def test_a_user_reads_where_she_has_the_role(alice, organization, other_organization):
    Membership.objects.create(user=alice, organization=other_organization, role=Role.VIEWER)
    found = rights.of(alice)
    rows = Organization.objects.all()
    assert set(found.readable(rows, Role.VIEWER)) == {organization, other_organization}
    assert list(found.readable(rows, Role.MANAGER)) == [organization]
    assert found.may(Role.MANAGER, anywhere=True)
    assert not found.may(Role.OPERATOR, other_organization.pk)


def test_memberships_are_read_once_for_each_instance_of_a_user(alice, organization, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert rights.of(alice).may(Role.MANAGER, organization.pk)
        restrict(Organization.objects.all(), alice)
        restrict(Membership.objects.all(), alice)


def test_a_membership_that_has_ended_opens_nothing_in_the_next_request(client, alice, organization):
    client.force_login(alice)
    page = f"/admin/organizations/organization/{organization.pk}/change/"
    assert client.get(page).status_code == 200
    Membership.objects.all().delete()
    assert client.get(page).status_code == 403


def test_platform_staff_may_everything_while_they_are_active(staff, organization):
    assert rights.of(staff).may(None)
    staff.is_active = False
    assert not rights.of(staff).may(None)
    assert not rights.of(staff).readable(Organization.objects.all(), Role.VIEWER).exists()


def test_nobody_may_nothing(organization):
    found = rights.of(AnonymousUser())
    assert not found.may(Role.VIEWER, anywhere=True)
    assert not found.readable(Organization.objects.all(), Role.VIEWER).exists()
