"""A text field that is encrypted at rest."""

from functools import cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


@cache
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def cipher() -> MultiFernet:
    """The cipher of FIELD_ENCRYPTION_KEYS: the first key encrypts, every key decrypts."""
    return _cipher(tuple(settings.FIELD_ENCRYPTION_KEYS))


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]  # no generic at run time
    """Text that the database sees as a Fernet token; empty text stays empty, so "is it set" can be asked."""

    def get_prep_value(self, value: Any) -> Any:
        text = super().get_prep_value(value)
        return cipher().encrypt(text.encode()).decode() if text else text

    def value_to_string(self, obj: models.Model) -> str:
        """For `manage.py dumpdata`: what the database has, too."""
        return self.get_prep_value(self.value_from_object(obj)) or ""

    def to_python(self, value: Any) -> Any:
        """For `manage.py loaddata`: a token of our own is opened, other text is taken as it is."""
        text = super().to_python(value)
        try:
            return cipher().decrypt(text.encode()).decode() if text else text
        except InvalidToken:
            return text

    def from_db_value(self, value: str | None, *_args: Any) -> str | None:
        if not value:
            return value
        try:
            return cipher().decrypt(value.encode()).decode()
        except InvalidToken:
            raise ImproperlyConfigured("FIELD_ENCRYPTION_KEYS lacks the key that encrypted a stored value.") from None
