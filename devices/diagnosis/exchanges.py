"""Journal rows for people: which had which outcome, their JSON and topics, and the codes in it in words."""

import json
import shlex
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

from django.db.models import Q
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from mqtt_bridge.models import Exchange
from mqtt_bridge.protocol import topics
from mqtt_bridge.protocol.result_codes import known
from mqtt_bridge.protocol.topics import ENROLMENT_PREFIX, Channel

CODE_KEYS = ("result", "err_code")
# What became of a message, by `Exchange.became`.
WORDS: Final[Mapping[str, object]] = {
    "answered": _("answered"),
    "refused": _("refused"),
    "noted": _("noted"),
    "ignored": _("ignored"),
    "quarantined": _("quarantined"),
    "error": _("error"),
    "left": _("left"),
    "unanswered": _("unanswered"),
}
MAX_CODES = 50  # as many as a message has devices


def outcomes() -> dict[str, Q]:
    """The rows of each outcome, by the words of `Exchange.became`."""
    outcome = Exchange.Outcome
    no_answer = Q(outcome=outcome.IGNORED)
    return {
        "answered": Q(outcome=outcome.ANSWERED) & ~refusing(),
        "refused": refusing(),
        "noted": no_answer & Q(reason=""),
        "ignored": no_answer & ~Q(reason=""),
        "quarantined": Q(outcome=outcome.QUARANTINED),
        "error": Q(outcome=outcome.ERROR),
        "left": Q(outcome=outcome.LEFT) & ~Q(reason=Exchange.UNANSWERED),
        "unanswered": Q(outcome=outcome.LEFT, reason=Exchange.UNANSWERED),
    }


def refusing() -> Q:
    """Answers that refuse something, as `Exchange.is_refusal`."""
    return Q(outcome=Exchange.Outcome.ANSWERED) & ~Q(reason="") & ~Q(channel=Channel.STATUS)


class Side(NamedTuple):
    """The message, or the answer to it: its topic, and its JSON as far as the journal's columns have it."""

    topic: str
    envelope: str  # "" if the data is not JSON, or nothing was sent
    publish: str  # the command line that publishes that


def sides(exchange: Exchange) -> tuple[Side, Side]:
    """What the gateway sent and what it was answered. What has no column is missing: `gateway`, `need_reply`.

    The bytes themselves are not kept. A topology is shown on the topic of DJI's pages, whichever it came on.
    """
    channel = Channel(exchange.channel)
    topic = topics.build(channel, exchange.gateway_sn) if topics.is_sn(exchange.gateway_sn) else ""
    topic = f"{ENROLMENT_PREFIX if exchange.by_enrolment and topic else ''}{topic}"
    answer_topic = topics.reply_topic(topic) if topic and topics.reply_channel(channel) else ""
    sent_at = round(exchange.device_time.timestamp() * 1000) if exchange.device_time else None
    found = []
    for where, text, timestamp in ((topic, exchange.payload, sent_at), (answer_topic, exchange.reply, None)):
        try:
            data = _read(text)
        except (ValueError, RecursionError):
            found.append(Side(where, "", ""))
            continue
        fields = {"tid": exchange.tid, "bid": exchange.bid, "timestamp": timestamp, "method": exchange.method}
        envelope = {name: value for name, value in fields.items() if value not in ("", None)} | {"data": data}
        line = json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))
        publish = f"mosquitto_pub -h BROKER -q 1 -t {shlex.quote(where)} -m {shlex.quote(line)}" if where else ""
        found.append(Side(where, indented(envelope), publish))
    return found[0], found[1]


class CodeInWords(NamedTuple):
    """One result code of a message: whose (a serial number, or ""), the number, what it means."""

    sn: str
    code: int
    words: str


def shown(text: str) -> object:
    """The JSON of a journal row; other text, such as a payload that was cut off, unchanged."""
    try:
        return _read(text)
    except (ValueError, RecursionError):
        return text


def pretty(text: str) -> str:
    """The JSON of a journal row, indented; other text unchanged."""
    try:
        return indented(_read(text))
    except (ValueError, RecursionError):
        return text


def indented(data: object) -> str:
    """JSON for people."""
    return json.dumps(data, indent=2, ensure_ascii=False)


def codes(text: str) -> list[CodeInWords]:
    """The result codes in a message, in the order of the message; of many only the first."""
    return [CodeInWords(sn, code, in_words(code)) for sn, code in islice(_find(shown(text)), MAX_CODES)]


def in_words(code: int) -> str:
    """What a code means, to stand beside its number."""
    return known(code, get_language() or "en") or gettext("not documented by DJI")


def _read(text: str) -> object:
    """The JSON in a text; ValueError for NaN, numbers beyond a float and lone surrogates, which no encoder takes.

    Docks may send them, and Python reads them.
    """
    data: object = json.loads(text)
    json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
    return data


def _find(data: object) -> Iterator[tuple[str, int]]:
    if isinstance(data, dict):
        for key, value in data.items():
            if key in CODE_KEYS and isinstance(value, int) and not isinstance(value, bool):
                yield str(data.get("sn", "")), value
            else:
                yield from _find(value)
    elif isinstance(data, list):
        for item in data:
            yield from _find(item)
