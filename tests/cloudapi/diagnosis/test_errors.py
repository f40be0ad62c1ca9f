"""What went wrong on the way to a server, in the reader's language."""

import re

import pytest
from django.utils.translation import override

from cloudapi.diagnosis.errors import in_words
from mqtt_bridge.line import tls

NAMES = re.compile(r"MQTT_\w+|MQTT|TLS|CA|mqtts?://|dock|[\d.]+")


@pytest.mark.parametrize("cause", sorted(set(tls._CAUSES.values())))
def test_what_tls_means_is_in_chinese(cause):
    with override("zh-hans"):
        assert not re.search("[a-z]", NAMES.sub("", in_words(cause.format(host="dock"))), re.IGNORECASE)


def test_the_usual_errors_are_in_words_with_the_raw_text_behind_them():
    refused = ConnectionRefusedError(111, "Connection refused")
    assert in_words(refused) == "[Errno 111] Connection refused"
    with override("zh-hans"):
        assert in_words(refused) == "连接被拒绝（[Errno 111] Connection refused）"
        assert in_words(TimeoutError("timed out")) == "未及时应答（timed out）"
        assert in_words("something odd") == "something odd"
