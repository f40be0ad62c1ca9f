"""A text field that is encrypted at rest."""

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models.functions import Cast

PIECE = 500  # rows that are encrypted again between two looks at the database


def cipher() -> MultiFernet:
    """The cipher of FIELD_ENCRYPTION_KEYS: the first key encrypts, every key decrypts."""
    return MultiFernet([Fernet(key) for key in settings.FIELD_ENCRYPTION_KEYS])


def opened(token: str) -> str:
    """The text of a stored value, which a query may read as it is (`stored`) and open only where it is needed."""
    try:
        return cipher().decrypt(token.encode()).decode() if token else token
    except InvalidToken:
        raise ImproperlyConfigured("FIELD_ENCRYPTION_KEYS lacks the key that encrypted a stored value.") from None


def stored(field: str) -> Cast:
    """This field in a query, as text of no special kind: the field itself would be opened when it is read."""
    return Cast(field, models.TextField())


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
        return opened(value) if value else value


@dataclass
class Rotation:
    """What became of the stored values of one field."""

    field: EncryptedTextField
    encrypted_again: int = 0
    current: int = 0  # by the first key already
    lost: int = 0  # no key opens them


def rotate() -> Iterator[Rotation]:
    """Encrypt every stored value of every model by the first of FIELD_ENCRYPTION_KEYS; one result for each field.

    A run that is cut short is finished by the next. A value that somebody else changes at the same time keeps the
    change, which the first key encrypted.
    """
    for model in apps.get_models():
        for field in model._meta.local_concrete_fields:
            if isinstance(field, EncryptedTextField):
                yield _rotate(field)


def _rotate(field: EncryptedTextField) -> Rotation:
    rows = field.model._base_manager.annotate(stored=stored(field.name)).exclude(stored="").order_by("pk")
    first, all_keys, done, last = Fernet(settings.FIELD_ENCRYPTION_KEYS[0]), cipher(), Rotation(field), None
    while piece := list((rows.filter(pk__gt=last) if last is not None else rows).values_list("pk", "stored")[:PIECE]):
        for pk, token in piece:
            try:
                first.decrypt(token)
                done.current += 1
                continue
            except InvalidToken:
                pass
            try:
                again = all_keys.rotate(token.encode()).decode()
            except InvalidToken:
                done.lost += 1
                continue
            unchanged = rows.filter(pk=pk, stored=token).order_by()
            plain: models.TextField[str, str] = models.TextField()  # the field would encrypt it once more
            done.encrypted_again += unchanged.update(**{field.name: models.Value(again, output_field=plain)})
        last = piece[-1][0]
    return done
