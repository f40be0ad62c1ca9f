"""A text field that is encrypted at rest."""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


def cipher() -> MultiFernet:
    """The cipher of FIELD_ENCRYPTION_KEYS: the first key encrypts, every key decrypts."""
    return MultiFernet([Fernet(key) for key in settings.FIELD_ENCRYPTION_KEYS])


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]  # no generic at run time
    """Text that the database sees as a Fernet token; empty text stays empty, so "is it set" can be asked."""

    def get_prep_value(self, value: object) -> str | None:
        text: str | None = super().get_prep_value(value)
        return cipher().encrypt(text.encode()).decode() if text else text

    def value_to_string(self, obj: models.Model) -> str:
        """For `manage.py dumpdata`: the token that the database has."""
        return self.get_prep_value(self.value_from_object(obj)) or ""

    def to_python(self, value: object) -> str | None:
        """For `manage.py loaddata`: our own tokens are opened, other text is taken unchanged."""
        text: str | None = super().to_python(value)
        try:
            return cipher().decrypt(text.encode()).decode() if text else text
        except InvalidToken:
            return text

    def from_db_value(self, value: str | None, *_args: object) -> str | None:
        if not value:
            return value
        try:
            return cipher().decrypt(value.encode()).decode()
        except InvalidToken:
            raise ImproperlyConfigured("FIELD_ENCRYPTION_KEYS lacks the key that encrypted a stored value.") from None
