"""The operator's guide as a page of the admin, from the file in `docs/` in the language of the request."""

import re
from collections.abc import Mapping
from functools import cache
from itertools import chain
from typing import Final, NamedTuple
from urllib.parse import unquote

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language, gettext
from markdown_it import MarkdownIt
from markdown_it.token import Token

GUIDES: Final = {
    "en": settings.BASE_DIR / "docs/operators.md",
    "zh-hans": settings.BASE_DIR / "docs/operators.zh.md",
}
OTHER_DOCUMENTS: Final = {"integrators": "docs"}  # and what this server has in their place, by URL name

# Which part of the guide is about a page: by the page's URL name, else by its model.
PARTS: Final = {
    "index": "the-start-page",
    "acknowledge": "acknowledge",
    "search": "find-anything",
    "preferences": "sign-in",
    "second_factor": "sign-in",
    "second_factor_set_up": "sign-in",
    "sessions": "sign-in",
    "system": "the-server",
    "auth_user": "people-and-programs",
    "devices_brokeraccount": "accounts-of-the-broker",
    "devices_device": "onboard-a-dock",
    "devices_device_batch": "command-many-docks",
    "devices_device_changelist": "command-many-docks",
    "devices_device_clear_out": "transfer-a-device",
    "devices_device_commands": "send-a-command",
    "devices_device_credentials": "accounts-of-the-broker",
    "devices_device_grouping": "sites-labels-and-names",
    "devices_device_import": "lists-as-files",
    "devices_device_inbox": "transfer-a-device",
    "devices_device_map": "the-map-of-the-docks",
    "devices_device_release": "release-a-device",
    "devices_device_rename": "sites-labels-and-names",
    "devices_device_retire": "retire-a-device",
    "devices_device_transfer": "transfer-a-device",
    "devices_dockconnection": "accounts-of-the-broker",
    "devices_label": "sites-labels-and-names",
    "devices_servicecall": "send-a-command",
    "devices_servicecallbatch": "command-many-docks",
    "devices_servicecallbatch_retry": "retry-what-failed",
    "devices_site": "sites-labels-and-names",
    "licenses_licenseevent": "unlock-licenses",
    "licenses_licensefile": "update-from-a-file",
    "licenses_licenselist": "unlock-licenses",
    "licenses_unlocklicense": "unlock-licenses",
    "licenses_unlocklicense_map": "timeline-map-file",
    "licenses_unlocklicense_switch_by": "switch-by-name-type-or-group",
    "licenses_unlocklicense_timeline": "timeline-map-file",
    "licenses_unlocklicense_switch_many": "switch-by-name-type-or-group",
    "mqtt_bridge_exchange": "messages",
    "mqtt_bridge_heartbeat": "the-server",
    "organizations_auditevent": "people-and-programs",
    "organizations_bindingcode": "onboard-a-dock",
    "organizations_bindingcode_import": "lists-as-files",
    "organizations_bindingfailure": "if-it-does-not-bind",
    "organizations_filejob": "lists-as-files",
    "organizations_invitation": "people-and-programs",
    "organizations_invitation_import": "lists-as-files",
    "organizations_membership": "people-and-programs",
    "organizations_organization": "people-and-programs",
    "organizations_organization_close": "an-organization-leaves",
    "organizations_organizationapikey": "people-and-programs",
}


class Part(NamedTuple):
    """A heading of the guide below its title."""

    level: int
    anchor: str
    title: str


class Guide(NamedTuple):
    """A guide as HTML. Its anchors are those of the English one, so that a link fits each language."""

    title: str
    parts: list[Part]
    html: SafeString


def part_of(request: HttpRequest) -> str:
    """The anchor of what the guide says about this page; empty if it says nothing."""
    name = request.resolver_match.url_name if request.resolver_match else None
    return PARTS.get(name or "") or PARTS.get((name or "").rpartition("_")[0], "")


@cache
def guide(language: str) -> Guide:
    """Read and render once in each process; what would be HTML in the file is shown as text."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(GUIDES[language].read_text())
    title, *headings = _headings(tokens)
    english = [_anchor(text.content) for _, text in _headings(reader.parse(GUIDES["en"].read_text()))[1:]]
    anchors = {_anchor(text.content): anchor for (_, text), anchor in zip(headings, english, strict=True)}
    parts = []
    for (opening, text), anchor in zip(headings, english, strict=True):
        opening.attrSet("id", anchor)
        parts.append(Part(int(opening.tag[1]), anchor, text.content))
    for token in chain.from_iterable(block.children or () for block in tokens):
        if token.type == "link_open":
            token.attrSet("href", _address(str(token.attrGet("href")), anchors))
        elif token.type == "image":
            token.attrSet("src", static(f"help/{str(token.attrGet('src')).removeprefix('images/')}"))
    name = escape(gettext("Table"))
    table = f'<div class="table-scroll" role="region" tabindex="0" aria-label="{name}"><table>'
    html = reader.renderer.render(tokens[3:], reader.options, {})  # without the title
    html = html.replace("<table>", table).replace("</table>", "</table></div>")
    return Guide(title[1].content, parts, mark_safe(html))  # noqa: S308  # of our own file, by a reader that escapes


def page(request: HttpRequest, context: Mapping[str, object]) -> HttpResponseBase:
    """The whole guide, with its contents; a script searches it."""
    found = guide(get_language() or "en")
    return TemplateResponse(request, "admin/help.html", {**context, "title": found.title, "guide": found})


def _headings(tokens: list[Token]) -> list[tuple[Token, Token]]:
    """Each heading's opening and its text."""
    return [(token, tokens[at + 1]) for at, token in enumerate(tokens) if token.type == "heading_open"]


def _anchor(heading: str) -> str:
    """What links to a heading end in, where the file is read as Markdown."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _address(target: str, anchors: Mapping[str, str]) -> str:
    return (
        f"#{anchors[unquote(target[1:])]}"
        if target.startswith("#")
        else reverse(OTHER_DOCUMENTS[target.removesuffix(".md")])
    )
