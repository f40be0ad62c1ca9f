"""What axe finds on the pages: nothing serious, in either language, in light and in dark."""

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.apps import apps

from cloudapi.diagnosis import checks, findings
from devices.models import Device
from organizations import invitations
from organizations.audit import Actor
from organizations.models import AuditEvent, Membership, Role
from organizations.people.models import Preference
from tests.world import *  # noqa: F403  (the fixture)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LISTS = [
    "auth/user",
    "devices/brokeraccount",
    "devices/device",
    "devices/dockconnection",
    "devices/servicecall",
    "devices/servicecallbatch",
    "licenses/licensefile",
    "licenses/unlocklicense",
    "mqtt_bridge/exchange",
    "organizations/auditevent",
    "organizations/bindingcode",
    "organizations/filejob",
    "organizations/invitation",
    "organizations/membership",
    "organizations/organization",
    "organizations/organizationapikey",
]
FORMS = [
    "auth/user",
    "devices/brokeraccount",
    "devices/device",
    "organizations/bindingcode",
    "organizations/invitation",
    "organizations/organization",
    "organizations/organizationapikey",
]
LOOKS = [("en", "light", 1280), ("zh-hans", "light", 390), ("en", "dark", 390), ("zh-hans", "dark", 1280)]
RUN = """async () => {
  const found = await axe.run({resultTypes: ["violations"], preload: false});
  return found.violations.filter(({impact}) => ["serious", "critical"].includes(impact)).flatMap(
    ({id, nodes}) => nodes.map(({html, any}) => `${id}: ${html.slice(0, 160)} ${any.map(({message}) => message)}`));
}"""

EDGES = """() => {
  const light = (colour) => {
    const [red, green, blue] = colour.match(/\\d+/g).map((value) => value / 255)
      .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
  };
  return [...document.querySelectorAll("input:is([type=text], [type=number], [type=search]), select, textarea")]
    .map((field) => getComputedStyle(field)).filter((style) => parseFloat(style.borderTopWidth))
    .map((style) => [light(style.borderTopColor), light(style.backgroundColor)].sort())
    .map(([dark, bright]) => bright / dark);
}"""


def addresses():
    """The own pages of the world: lists, forms, rows and what else there is."""
    yield from ("", "system/", "search/?q=DOCK", "help/")
    yield from (f"{model}/" for model in LISTS)
    yield from (f"{model}/add/" for model in FORMS)
    for label in LISTS:
        row = apps.get_model(*label.split("/"))._default_manager.order_by("pk").first()
        if row is not None:
            yield f"{label}/{row.pk}/change/"
    dock = Device.objects.get(sn="HARBOURDOCK").pk
    yield from (f"devices/device/{dock}/commands/", f"licenses/unlocklicense/dock/{dock}/")
    yield from (
        f"{place}/import/" for place in ("devices/device", "devices/dockconnection", "organizations/bindingcode")
    )
    yield from ("licenses/unlocklicense/map/", "licenses/unlocklicense/timeline/", "devices/device/clear-out/")
    yield "devices/device/map/"
    yield f"organizations/organization/{Membership.objects.first().organization_id}/close/"
    yield from (
        "../preferences/",
        "../sessions/",
        "../second-factor/",
        "../second-factor/set-up/",
        "password_change/",
        "../no/such/",
    )


@pytest.mark.turns(2 * len(LOOKS))
@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize(("language", "scheme", "width"), LOOKS)
@pytest.mark.usefixtures("world")
def test_axe_finds_nothing_serious_on_any_page(
    page, sign_in, staff, complaints, monkeypatch, language, scheme, width, half
):
    complaints.allow("Applying inline style violates", ".*/no/such/")  # axe measures with one, and does without it
    monkeypatch.setattr(checks, "run", lambda: iter([findings.problem("Broker", "No connection.", "Start it.")]))
    Preference.objects.create(user=staff, language=language)
    sign_in(staff)
    page.add_init_script(AXE_SCRIPT)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    found = []
    for address in [*addresses()][half::2]:
        page.goto(f"/admin/{address}")
        assert page.get_attribute("html", "lang") == language
        found += [f"/admin/{address} {text}" for text in page.evaluate(RUN)]
    assert found == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_edge_of_an_empty_field_can_be_seen(page, sign_in, staff, scheme):
    """WCAG 1.4.11 asks for 3:1; axe does not look."""
    sign_in(staff)
    page.emulate_media(color_scheme=scheme)
    for place in ("organizations/bindingcode/add/", "devices/device/", "../second-factor/set-up/"):
        page.goto(f"/admin/{place}")
        edges = page.evaluate(EDGES)
        assert edges, place
        assert min(edges) >= 3, (place, edges)


def test_an_invitation_can_be_read_in_the_dark(page, organization):
    """Axe does not count what is as dark as its ground: it may be hidden on purpose."""
    actor = Actor(AuditEvent.Through.COMMAND)
    _, plain = invitations.issue(actor=actor, organization=organization, username="newcomer", role=Role.VIEWER)
    page.emulate_media(color_scheme="dark")
    page.goto(f"/welcome/{plain}/")
    for place in (".paper", ".paper fieldset", ".paper input[type=password]"):
        assert page.eval_on_selector(place, "(one) => getComputedStyle(one).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.usefixtures("world")
def test_filters_fold_up_above_the_list_on_a_phone(page, sign_in, alice):
    sign_in(alice)
    page.goto("/admin/devices/device/")
    assert page.is_visible("#changelist-filter a >> text=online")
    page.set_viewport_size({"width": 390, "height": 844})
    assert not page.is_visible("#changelist-filter a >> text=online")
    box, rows = (page.locator(place).bounding_box() for place in (".filters", "#result_list"))
    assert box["height"] < 60
    assert box["y"] < rows["y"]
    page.click(".filters > summary")
    page.click("#changelist-filter a >> text=offline")
    page.wait_for_selector(".filters >> text=Filter (in use)")
