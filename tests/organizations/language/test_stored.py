"""Sentences of rows, which are kept in English, as a Chinese page shows them."""

import ast
import re

import pytest
from django.utils.translation import gettext_lazy, override

from mqtt_bridge.protocol import errors
from organizations.language import stored
from organizations.language.catalogues import APPS
from tests.stack import ROOT

OURS = re.compile(  # what reads the same in each language
    r"\b(DJI|License|Pilot|MQTT|JSON|NUL|PostgreSQL|SN|ID|topic|tid|bid|method|data|result|status|licenses|sub_devices)\b"
)
ERRORS = {name for name in vars(errors) if name.endswith("Error")} | {"RefusedMessageError"}


def text_of(node):
    """A text in the sources, as a row has it: with 7 for each value; None for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "7" for part in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"{\w*}", "7", node.value)
    return None


def kept():
    """Each sentence of the sources that is kept in rows: marked so, or what the protocol core says of a message."""
    paths = [path for app in APPS if app != "cloudapi" for path in sorted((ROOT / app).rglob("*.py"))]
    for path in (path for path in paths if path.name != "libraries.py"):  # neither has rows of ours
        names = ERRORS | {"gettext_noop"} if "mqtt_bridge" in path.parts else {"gettext_noop"}
        source = path.read_text()
        if not any(name in source for name in names):
            continue  # each worker would take a second to parse them all
        for node in ast.walk(ast.parse(source)):
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            if name == "gettext_noop":
                yield text_of(node.args[0])
            elif name in names:
                yield from filter(None, map(text_of, node.args[name != "LocalProtocolError" :]))


@pytest.mark.parametrize("text", sorted(set(kept())))
def test_each_sentence_that_is_kept_is_shown_in_chinese_without_rest(text):
    with override("zh-hans"):
        shown = stored.shown(text)
    assert shown != text
    assert re.findall("[A-Za-z]{2,}", OURS.sub("", shown)) == []


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        ("osd: data_invalid: result is missing", "osd：data_invalid：缺少 result"),
        ("The dock's answer cannot be read (result is missing); what it did is unknown.",
         "机场的应答无法读取（缺少 result），执行情况未知。"),
        ("the command had ended: failed", "该指令已结束：失败"),
        ("left to others; answered after 3.1 s", "留给其他服务；3.1 秒后应答"),
        ("device disabled; 12 more since the last entry", "设备已禁用；自上一条目以来另有 12 条"),
        ('{"a": 1; "b": 2}', '{"a": 1; "b": 2}'),
        ("failed: reply cannot be sent: NUL character", "失败：无法发送应答：NUL 字符"),
    ],
)  # fmt: skip
def test_sentences_that_are_joined_are_each_translated(text, chinese):
    with override("zh-hans"):
        assert stored.shown(text) == chinese


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        ("Authorization zones", "授权区"),
        ("type 77", "类型 77"),
        ("4TADL1: type 77", "4TADL1：类型 77"),
        ("Power; type 8", "功率；类型 8"),
        ("what nobody has translated", "what nobody has translated"),
        ("It is an aircraft.", "It is an aircraft."),
        ("Harbour Survey and Sons", "Harbour Survey and Sons"),
        ("license 4711", "证书 4711"),
        ("", ""),
    ],
)
def test_stored_sentences_are_translated_when_they_are_shown(text, chinese):
    with override("zh-hans"):
        assert stored.shown(text) == chinese
    with override("en"):
        assert stored.shown(text) == text


def test_rows_keep_english():
    with override("zh-hans"):
        assert stored.english(gettext_lazy("Authorization zones")) == "Authorization zones"
