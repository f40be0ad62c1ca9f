"""Keeps out of every log what is a key as a part of an address: it opens an account, or a file."""

import logging
import re
from typing import Final

SECRET: Final = re.compile(r"(/(?:welcome|license-files|password-reset/[^/\s?#\"'>]+)/)[^/\s?#\"'>]+")


class MaskTokens(logging.Filter):
    """Replaces tokens in addresses by `***`, in a message and in its arguments."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, str):
            record.msg = masked(record.msg)
        if isinstance(record.args, tuple):  # uvicorn.access reads them one by one, so they must stay
            record.args = tuple(masked(value) if isinstance(value, str) else value for value in record.args)
        return True


def masked(text: str) -> str:
    """The text without tokens."""
    return SECRET.sub(r"\1***", text)
