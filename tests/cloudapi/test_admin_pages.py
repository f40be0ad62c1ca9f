"""Every page of every registered model opens for the right users, and shows nothing of other organizations."""

import re
from datetime import timedelta
from functools import cache

import pytest
from axes.models import AccessAttempt
from django.contrib import admin
from django.core import checks
from django.core.exceptions import BadRequest
from django.test import Client, RequestFactory
from django.urls import resolve, reverse
from django.utils import timezone

from cloudapi import urls  # noqa: F401  (registers the pages)
from organizations.models import Organization
from organizations.tenancy import restrict
from tests.shared_world import *  # noqa: F403  (fixtures, in place of the cast's)

REGISTERED = sorted(admin.site._registry, key=lambda model: model._meta.label)
OURS = [model for model in REGISTERED if model._meta.app_label not in ("auth", "axes")]
each_model = pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)
each_of_ours = pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.label)
OWNED = [model for model in OURS if hasattr(model, "organization_path")]
each_owned_model = pytest.mark.parametrize("model", OWNED, ids=lambda model: model._meta.label)
each_visitor = pytest.mark.parametrize("visitor", ["staff", "alice", "bob"])


def test_djangos_own_checks_of_the_pages_find_nothing():
    assert checks.run_checks(tags=[checks.Tags.admin]) == []


def address(model, page, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.fixture
def visit(request, world):
    @cache  # a sign-in costs more than most pages
    def signed_in(visitor):
        client = Client()
        client.force_login(request.getfixturevalue(visitor))
        return client

    return lambda visitor, url, data=None: signed_in(visitor).get(url, data or {})


@pytest.mark.usefixtures("world")
@each_of_ours
def test_the_sweep_has_a_row_to_open(model):
    assert model._default_manager.exists(), "add a row to tests/world.py"


@each_visitor
@each_model
def test_lists_and_forms_open(visit, visitor, model):
    for page in ("changelist", "add"):
        response = visit(visitor, address(model, page))
        assert response.status_code in ((200, 403) if visitor != "staff" or page == "add" else (200,)), page


def test_the_page_of_an_app_links_its_lists(visit):
    for label in ("devices", "organizations", "auth", "axes"):
        page = visit("staff", reverse("admin:app_list", args=[label])).content.decode()
        for model in (model for model in REGISTERED if model._meta.app_label == label):
            assert f'<a href="{address(model, "changelist")}">' in page
        assert "Nothing needs you now" not in page


def test_an_add_page_that_nobody_has_says_how_the_rows_come(client, staff):
    client.force_login(staff)
    request = RequestFactory().get("/")
    request.user = staff
    for model in REGISTERED:
        page = admin.site.get_model_admin(model)
        if not page.has_add_permission(request):
            answer = client.get(address(model, "add"))
            assert answer.status_code == 403
            assert b"Nobody adds to this list by hand." in answer.content, model


def test_the_page_for_a_new_password_has_the_links_of_the_others(visit):
    page = visit("staff", reverse("admin:password_change")).content.decode()
    assert [page.count(f'href="{reverse(name)}"') for name in ("preferences", "sessions", "second_factor")] == [1, 1, 1]


def test_tries_to_sign_in_have_names_in_the_language_of_the_reader(staff):
    row = AccessAttempt.objects.create(username="mallory", ip_address="10.0.0.9", failures_since_start=1)
    assert str(row) == "mallory, 10.0.0.9"
    client = Client(headers={"accept-language": "zh-hans"})
    client.force_login(staff)
    page = client.get(address(AccessAttempt, "changelist")).content.decode()
    assert "mallory, 10.0.0.9" in page
    assert "Attempted Access" not in page
    assert re.search(r"还可尝试 \d+ 次", page)
    assert not re.search(r">\s*Status\s*<", page)
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(days=1))
    action = {"action": "cleanup_expired_attempts", "_selected_action": row.pk}
    said = client.post(address(AccessAttempt, "changelist"), action, follow=True).content.decode()
    assert "已删除 1 条过期的登录尝试" in said
    assert "Cleaned up" not in said
    assert not AccessAttempt.objects.exists()


def test_a_try_to_sign_in_has_no_button_that_would_do_nothing(staff, client):
    row = AccessAttempt.objects.create(username="mallory", ip_address="10.0.0.9", failures_since_start=1)
    client.force_login(staff)
    page = client.get(address(AccessAttempt, "change", row.pk)).content.decode()
    assert "mallory" in page
    assert 'name="_save"' not in page
    assert "historylink" not in page


def test_the_page_of_a_user_names_the_organizations(client, staff, alice):
    client.force_login(staff)
    page = client.get(address(type(alice), "change", alice.pk)).content.decode()
    assert re.search(r'field-organizations.*?<div class="readonly">Harbour Survey</div>', page, re.DOTALL)
    assert "field-has_second_factor" in page


@each_visitor
@each_model
def test_pages_of_a_row_open(visit, visitor, model, organization):
    rows = model._default_manager.all()
    if hasattr(model, "organization_path"):
        rows = rows.filter(**{model.organization_path: organization} if model.organization_path else {})
    row = rows.order_by("pk").first()
    for page in ("change", "history", "delete") if row else ():
        response = visit(visitor, address(model, page, row.pk))
        assert response.status_code in (200, 302, 403), page
        if visitor == "staff" and page != "delete" and not (model._meta.proxy and page == "change"):
            assert response.status_code == 200, page


@pytest.fixture
def one_row_a_page(monkeypatch, model):
    monkeypatch.setattr(type(admin.site._registry[model]), "list_per_page", 1)


@pytest.mark.turns(2)
@pytest.mark.usefixtures("one_row_a_page")
@each_of_ours
def test_lists_can_be_searched_and_sorted(visit, model):
    columns = len(admin.site._registry[model].list_display)
    orders = [{"o": f"{sign}{number}"} for number in range(1, columns + 1) for sign in ("", "-")]
    for query in [{"q": "HARBOUR"}, *orders]:
        assert visit("staff", address(model, "changelist"), query).status_code == 200, query


@pytest.mark.turns(2)
@pytest.mark.usefixtures("one_row_a_page")
@each_of_ours
def test_every_filter_value_works(visit, model):
    response = visit("staff", address(model, "changelist"))
    changelist = response.context["cl"]
    for spec in changelist.filter_specs:
        for choice in spec.choices(changelist):
            if "query_string" in choice:
                assert visit("staff", address(model, "changelist") + choice["query_string"]).status_code == 200


@each_model
def test_nul_in_a_query_string_is_a_bad_request(visit, staff, model):
    assert visit("staff", address(model, "changelist"), {"q": "A\0"}).status_code == 400
    # The rest without the middleware, which costs more than the refusal.
    fields = [field.name for field in model._meta.get_fields() if field.concrete]
    for name in ("q", "o", "p", "e", "_changelist_filters", "\0", "tid", "method", "firmware", "channel", *fields):
        for page in ("changelist", "add"):
            request = RequestFactory().get(address(model, page), {name: "A\0"})
            request.user = staff
            with pytest.raises(BadRequest):
                resolve(request.path).func(request)


def test_nul_in_the_query_string_of_autocomplete_is_a_bad_request(visit):
    query = {"app_label": "devices", "model_name": "device", "field_name": "organization", "term": "\0"}
    assert visit("staff", reverse("admin:autocomplete"), query).status_code == 400


@each_of_ours
def test_a_stranger_sees_nothing_of_another_organization_in_lists(visit, model):
    for query in ({}, {"q": "NORTHERN"}):
        text = visit("alice", address(model, "changelist"), query).content.decode()
        assert "Northern Grid" not in text
        assert "87654321" not in text
        assert "charlie" not in text
        assert "NORTHERNDOCK" not in text


@each_of_ours
def test_a_stranger_finds_no_choice_of_another_organization(visit, model):
    text = visit("alice", address(model, "add")).content.decode()
    assert "Northern Grid" not in text
    assert "NORTHERNDOCK" not in text
    assert "charlie" not in text


@each_owned_model
def test_a_stranger_opens_no_row_of_another_organization(visit, model, other_organization):
    path = model.organization_path
    foreign = model._default_manager.filter(**{path: other_organization} if path else {"pk": other_organization.pk})
    for row in foreign:
        for page in ("change", "history", "delete"):
            response = visit("alice", address(model, page, row.pk))
            assert response.status_code in (302, 403, 404), page
            assert b"Northern" not in response.content


@each_of_ours
def test_autocomplete_offers_nothing_of_another_organization(visit, model):
    for field in model._meta.get_fields():
        if not (field.many_to_one and hasattr(field.remote_field.model, "organization_path")):
            continue
        query = {"app_label": model._meta.app_label, "model_name": model._meta.model_name, "field_name": field.name}
        response = visit("alice", reverse("admin:autocomplete"), query)
        assert response.status_code in (200, 403)
        assert b"Northern" not in response.content
        assert b"NORTHERN" not in response.content


@pytest.mark.usefixtures("world")
def test_the_rule_hides_what_the_sweep_looks_for(alice):
    assert list(restrict(Organization.objects.all(), alice).values_list("name", flat=True)) == ["Harbour Survey"]


@each_owned_model
def test_bob_sees_no_button_that_saves(visit, model, organization):
    path = model.organization_path
    row = model._default_manager.filter(**{path: organization} if path else {"pk": organization.pk}).first()
    response = visit("bob", address(model, "change", row.pk))
    assert response.status_code in (200, 302, 403)
    assert b'name="_save"' not in response.content


def test_a_visitor_without_rights_is_sent_to_sign_in(client, db):
    response = client.get("/admin/organizations/organization/")
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


def test_a_form_without_csrf_token_is_refused(alice, organization):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    response = client.post(address(Organization, "change", organization.pk), {"name": "Stolen", "_save": "1"})
    assert response.status_code == 403
    organization.refresh_from_db()
    assert organization.name == "Harbour Survey"
