"""What a session's user may do, looked up for every request."""

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission, User

from organizations.people.sign_in import Backend


@pytest.mark.parametrize("is_active", [True, False])
def test_permissions_are_djangos_in_one_query(alice, bob, staff, is_active, django_assert_num_queries):
    view, change = Permission.objects.filter(content_type__app_label="axes").order_by("pk")[:2]
    group = Group.objects.create(name="auditors")
    group.permissions.add(view, change)
    for user in (alice, staff):
        user.user_permissions.add(view)
        user.groups.add(group)
    User.objects.update(is_active=is_active)
    for known in (alice, bob, staff):
        ours, djangos = (User.objects.get(pk=known.pk) for _ in range(2))
        found = Backend().get_all_permissions(ours)
        assert found == ModelBackend().get_all_permissions(djangos)
        assert bool(found) == (is_active and known != bob)
    member = User.objects.get(pk=alice.pk)
    with django_assert_num_queries(1 if is_active else 0):
        assert [member.has_perm(f"axes.{view.codename}") for _ in range(2)] == [is_active] * 2


@pytest.mark.django_db
def test_the_page_to_sign_in_asks_the_database_for_nothing(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert client.get("/admin/login/").status_code == 200
