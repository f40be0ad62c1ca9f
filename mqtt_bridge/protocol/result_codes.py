"""Result codes: those we send, and what the ones we may receive mean, in English and Chinese.

Six digits: 2xxxxx is the cloud's, 3 and 5 the device's, 4 and 6 Pilot's (DJI: error codes). The next two stand for a
module, but DJI does not say which. The words are in `data/`, one file for each page that lists codes.
"""

from enum import IntEnum
from functools import cache
from pathlib import Path


class Code(IntEnum):
    """The codes that we send."""

    OK = 0
    # From DJI's demo server.
    ILLEGAL_ARGUMENT = 200001  # also: no app license to give to a dock (decision 2)
    METHOD_NOT_SUPPORTED = 210003  # an unknown request is refused at once (decision 18)
    # From the page of DJI Pilot's error codes, which only V1.1 has; DJI's demo server still names them.
    ORGANIZATION_GET_FAILED = 210230  # never says whether the id or the code was wrong (decision 4)
    BIND_FAILED = 210231  # also the example of DJI: organization
    BOUND_ELSEWHERE = 210232  # only to a dock with a valid id and code (decision 5)
    BIND_STATUS_FAILED = 210233


def describe(code: int, language: str = "en") -> str:
    """Say what a code means, in English, or in Chinese if `language` starts with "zh".

    An unknown code gives a text with its number.
    """
    found = known(code, language)
    if found is None:
        return (
            f"错误码 {code}，大疆没有公布含义" if _is_chinese(language) else f"code {code}, which DJI does not document"
        )
    return found


def known(code: int, language: str = "en") -> str | None:
    """Say what a code means, in the same languages as `describe`; None for an unknown code."""
    texts = _texts().get(code)
    return texts and texts[_is_chinese(language)]


@cache
def _texts() -> dict[int, tuple[str, str]]:
    """Read `data/`: a code or first-last, English and Chinese in each line, separated by tabs."""
    texts = {}
    for file in (Path(__file__).parent / "data").glob("*.tsv"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                codes, english, chinese = line.split("\t")
                first, _, last = codes.partition("-")
                texts.update(dict.fromkeys(range(int(first), int(last or first) + 1), (english, chinese)))
    return texts


def _is_chinese(language: str) -> bool:
    return language.lower().startswith("zh")
