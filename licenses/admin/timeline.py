"""The list of licenses as a timeline, with the list's own filters."""

from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from devices.models import Device
from licenses.admin import bars
from licenses.admin.cells import Shown
from licenses.admin.changelist import SPAN, ListPages

DEFAULT_SPAN = "year"


class Line(NamedTuple):
    """One license of the timeline."""

    shown: Shown
    bar: bars.Bar


class TimelinePages(ListPages):
    """Adds `timeline/` below the list; it takes the list's query string."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.timeline_view)
        return [path("timeline/", view, name="licenses_unlocklicense_timeline"), *super().get_urls()]

    @method_decorator(require_safe)
    def timeline_view(self, request: HttpRequest) -> HttpResponse:
        """A bar for every license of the filtered list, on one axis around today."""
        changes = self.filtered(request)
        span = request.GET.get(SPAN, DEFAULT_SPAN)
        span = span if span in bars.SPANS else DEFAULT_SPAN
        now = timezone.now()
        axis = bars.axis(span, now)
        ticks = axis.ticks()
        docks: dict[int, tuple[Device, list[Line]]] = {}  # in the order of their first licenses
        for row in changes.result_list:
            docks.setdefault(row.device_id, (row.device, []))[1].append(Line(row.shown, axis.bar(row)))
        tick_line = '<line x1="{0}" x2="{0}" y1="0" y2="100%" class="tick"></line>'
        spans = [
            (words, changes.get_query_string({SPAN: name}), name == span) for name, (words, _, _) in bars.SPANS.items()
        ]
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("License timeline"),
            "opts": self.opts,
            "cl": changes,
            "docks": docks.values(),
            "ticks": ticks,
            "grid": format_html_join("", tick_line, ((tick.at,) for tick in ticks)),  # behind every bar
            "today": bars.percent(axis.at(now)),
            "now": now,
            "spans": spans,
            "list": f"{reverse('admin:licenses_unlocklicense_changelist')}"
            f"{changes.get_query_string(remove=[SPAN, 'p'])}",
        }
        return TemplateResponse(request, "admin/licenses/unlocklicense/timeline.html", context)
