"""The journal and the heartbeat of the bridge in the admin."""

from collections.abc import Iterator
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

from devices.admin.filters import Lookups, OptionFilter
from devices.admin.panels import device_link
from devices.diagnosis import exchanges
from devices.diagnosis.onboarding import onboarding
from devices.models import Device
from devices.templatetags.moments import exact
from mqtt_bridge.dispatch import CONTROL_CHANNELS
from mqtt_bridge.models import ONBOARDING, Exchange, Heartbeat
from mqtt_bridge.protocol.topics import Channel
from organizations.admin.tenant import CappedPaginator, ReadOnlyAdmin, TenantFilter
from organizations.language import stored
from organizations.tenancy import is_platform_staff, restrict
from organizations.typed import typed

MOST_DEVICES: Final = 20  # whose messages one search lists: each is a stretch of an index


class ChannelFilter(admin.SimpleListFilter):
    title = _("channel")
    parameter_name = "channel"

    def lookups(self, request: HttpRequest, model_admin: object) -> Lookups:
        return [(channel.value, channel.value) for channel in sorted(CONTROL_CHANNELS)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Exchange]) -> QuerySet[Exchange]:
        return queryset.filter(channel=self.value()) if self.value() else queryset


class OutcomeFilter(OptionFilter[Exchange]):
    """The outcome of a message, in the words of the list: a refusal does not count as an answer."""

    title = _("outcome")
    parameter_name = "outcome"
    options = {word: exchanges.WORDS.get(word, word) for word in exchanges.outcomes()}

    def chosen(self, rows: QuerySet[Exchange], value: str) -> QuerySet[Exchange]:
        return rows.filter(exchanges.outcomes()[value])


class MethodFilter(admin.SimpleListFilter):
    """A text field, for docks send more methods than a list could offer."""

    title = _("method")
    parameter_name = "method"
    template = "admin/mqtt_bridge/exchange/method_filter.html"

    def lookups(self, request: HttpRequest, model_admin: object) -> Lookups:
        return [(method, method) for method in ONBOARDING]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Exchange]) -> QuerySet[Exchange]:
        # All channels by name, so that an index finds the method in each.
        channels = ["", *Channel]
        return queryset.filter(method=self.value().strip(), channel__in=channels) if self.value() else queryset

    def value(self) -> str:
        return str(super().value() or "")

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        yield {
            "value": self.value(),
            "suggestions": [value for value, _ in self.lookup_choices],
            "others": [
                (name, value)
                for name, values in changelist.filter_params.items()
                if name != self.parameter_name
                for value in values
            ],
            "query": changelist.query,
        }


@admin.register(Exchange)
class ExchangeAdmin(ReadOnlyAdmin):
    """The journal: messages of docks and our answers, for the organization they concerned."""

    list_display = ("received_at_shown", "said", "became", "owner")  # and the gateway
    list_display_links = ("received_at_shown",)
    list_filter = (
        OutcomeFilter, MethodFilter, ChannelFilter, ("received_at", admin.DateFieldListFilter),
        ("organization", TenantFilter),
    )  # fmt: skip
    list_select_related = ("organization",)
    list_per_page = 50
    list_max_show_all = 0
    search_fields = ("gateway_sn", "tid")
    search_help_text = _("A serial number, a part of it or of a callsign, or a whole tid")
    ordering = ("-received_at", "-pk")
    sortable_by = ()
    actions = None
    readonly_fields = ("received", "device_clock")
    fields = ("received", "device_clock", "channel", "method", "tid", "bid", "by_enrolment", "organization")

    class Media:
        css = {"all": ["devices/devices.css"]}
        js = [Script("devices/refresh.js", type="module")]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Exchange]:
        rows: QuerySet[Exchange] = super().get_queryset(request)
        match = request.resolver_match
        is_list = match is not None and match.url_name == "mqtt_bridge_exchange_changelist"
        return rows.defer("payload", "reply") if is_list else rows

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list, with each gateway linked to its device if the user may see it: one query for the page."""
        page = super().get_changelist_instance(request)
        page.title = gettext("Journal")
        sns = {exchange.gateway_sn for exchange in page.result_list}
        links = {row.sn: device_link(row) for row in restrict(Device.objects.filter(sn__in=sns), request.user)}

        @admin.display(description=_("gateway"))
        def gateway(exchange: Exchange) -> SafeString | str:
            return links.get(exchange.gateway_sn, exchange.gateway_sn)

        first, *others = page.list_display
        page.list_display = [first, gateway, *others]
        return page

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Exchange], search_term: str
    ) -> tuple[QuerySet[Exchange], bool]:
        """Exact values, which an index finds: a part is first looked for among the devices, which are fewer."""
        if term := typed(search_term):
            named = Device.objects.filter(Q(sn__icontains=term) | Q(callsign__icontains=term)).order_by("sn")
            sns = list(restrict(named, request.user).values_list("sn", flat=True)[: MOST_DEVICES + 1])
            if len(sns) > MOST_DEVICES:
                text = _(
                    "More than {count} devices match. Only messages of the first {count} are listed, by serial number."
                )
                self.message_user(request, text.format(count=MOST_DEVICES), messages.WARNING)
            found = queryset.filter(Q(gateway_sn__in={term, term.upper(), *sns[:MOST_DEVICES]}) | Q(tid=term))
            # Their keys first: for a page of them, PostgreSQL might read the journal backwards until it is full.
            keys = found.order_by(*self.ordering).values_list("pk", flat=True)[: CappedPaginator.CAP]
            queryset = queryset.filter(pk__in=list(keys))
        return queryset, False

    @admin.display(description=_("received"))
    def received_at_shown(self, exchange: Exchange) -> SafeString:
        moment = localtime(exchange.received_at)
        return format_html(
            '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact(moment), f"{moment:%Y-%m-%d %H:%M:%S}"
        )

    @admin.display(description=_("received"))
    def received(self, exchange: Exchange) -> str:
        return exact(exchange.received_at)

    @admin.display(description=_("by the device's clock"))
    def device_clock(self, exchange: Exchange) -> str:
        return exact(exchange.device_time)

    @admin.display(description=_("method"))
    def said(self, exchange: Exchange) -> SafeString | str:
        return exchange.method or format_html("<em>{}</em>", exchange.channel)

    @admin.display(description=_("outcome and reason"))
    def became(self, exchange: Exchange) -> SafeString:
        way = gettext("through enrolment:") if exchange.by_enrolment else ""
        return format_html("{} {} {}", way, outcome_word(exchange), stored.shown(exchange.reason))

    @admin.display(description=_("organization"))
    def owner(self, exchange: Exchange) -> str:
        return exchange.organization.name if exchange.organization else "–"

    def render_change_form(
        self, request: HttpRequest, context: dict[str, object], *args: object, **kwargs: object
    ) -> HttpResponse:
        if isinstance(exchange := context.get("original"), Exchange):
            context.update(exchange_page(request, exchange))
        return super().render_change_form(request, context, *args, **kwargs)


def outcome_word(exchange: Exchange) -> SafeString:
    """The outcome of the message, as a coloured word."""
    became = exchange.became
    return format_html('<span class="outcome outcome-{}">{}</span>', became, exchanges.WORDS.get(became, became))


def exchange_page(request: HttpRequest, exchange: Exchange) -> dict[str, object]:
    """What the page of one journal entry shows beside its fields."""
    devices = restrict(Device.objects.select_related("state", "organization"), request.user)
    device = devices.filter(sn=exchange.gateway_sn).first()
    visible = restrict(Exchange.objects.all(), request.user)
    message, answer = exchanges.sides(exchange)
    return {
        "title": pgettext("journal", "{message} from {gateway}").format(
            message=exchange.method or exchange.channel, gateway=exchange.gateway_sn
        ),
        "subtitle": None,
        "outcome": outcome_word(exchange),
        "gateway": device_link(device) if device else exchange.gateway_sn,
        "sides": [
            {
                "id": name,
                "title": title,
                "side": side,
                "kept": exchanges.pretty(text) or none,
                "codes": exchanges.codes(text),
            }
            for name, title, side, text, none in (
                ("message", _("Message"), message, exchange.payload, _("nothing kept")),
                ("answer", _("Our answer"), answer, exchange.reply, _("nothing")),
            )
        ],
        # If the user may not see the gateway itself, this is the only page that shows how far it got.
        "onboarding": None if device else onboarding(exchange.gateway_sn, device=None, visible=visible),
    }


@admin.register(Heartbeat)
class HeartbeatAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The bridge's pulse, for platform staff."""

    list_display = ("instance", "is_alive", "beat_at", "started_at", "round_trip")
    fields = (*list_display, "counted")

    @admin.display(description=_("alive"))
    def is_alive(self, heartbeat: Heartbeat) -> str:
        is_stale = heartbeat.is_stale()
        return format_html('<span class="state bad">{}</span>', gettext("no")) if is_stale else gettext("yes")

    @admin.display(description=_("round trip"), ordering="round_trip_ms")
    def round_trip(self, heartbeat: Heartbeat) -> str:
        return gettext("{count} ms").format(count=f"{heartbeat.round_trip_ms:.1f}")

    @admin.display(description=_("counters"))
    def counted(self, heartbeat: Heartbeat) -> SafeString | str:
        """Under their names as metrics; what was never counted is not there."""
        lines = format_html_join("", "<li><code>{}</code> {}</li>", sorted(heartbeat.counters.items()))
        return format_html('<ul class="plain">{}</ul>', lines) if lines else "–"

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_platform_staff(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Heartbeat | None = None) -> bool:
        return is_platform_staff(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Heartbeat | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Heartbeat | None = None) -> bool:
        return False
