"""Writing the audit trail."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from django.contrib.auth.models import AbstractBaseUser
from django.db import models
from django.utils import timezone

from mqtt_bridge.database import bulk
from mqtt_bridge.protocol.redaction import MASK, is_secret
from organizations.language.stored import english
from organizations.models import AuditEvent, OrganizationAPIKey


@dataclass(frozen=True)
class Actor:
    """Who acts and through what; one per action, so that its rows share the request id."""

    through: AuditEvent.Through
    user: AbstractBaseUser | None = None
    key: OrganizationAPIKey | None = None
    request_id: uuid.UUID = field(default_factory=uuid.uuid4)


class Event(NamedTuple):
    """A new row of the trail; `record` saves one or many."""

    at: datetime
    request_id: uuid.UUID
    user_id: int | None
    api_key_id: int | None
    through: AuditEvent.Through
    organization_id: int | None
    action: str
    object_type: str
    object_id: str
    object_name: str
    before: dict[str, object]
    after: dict[str, object]


def event(
    actor: Actor,
    action: str,
    subject: models.Model,
    *,
    organization_id: int | None,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    at: datetime | None = None,
) -> Event:
    """That the actor did this to the subject, now if no other moment is given."""
    return Event(
        at=at or timezone.now(),
        request_id=actor.request_id,
        user_id=actor.user.pk if actor.user else None,
        api_key_id=actor.key.pk if actor.key else None,
        through=actor.through,
        organization_id=organization_id,
        action=action,
        object_type=subject._meta.label,
        object_id=str(subject.pk),
        object_name=english(subject)[:200],
        before=dict(before or {}),
        after=dict(after or {}),
    )


def listed(
    actor: Actor,
    action: str,
    model: type[models.Model],
    name: str,
    *,
    organization_id: int | None,
    after: Mapping[str, object],
) -> Event:
    """That the actor did this to a list of this model, not to one row."""
    return Event(
        at=timezone.now(),
        request_id=actor.request_id,
        user_id=actor.user.pk if actor.user else None,
        api_key_id=actor.key.pk if actor.key else None,
        through=actor.through,
        organization_id=organization_id,
        action=action,
        object_type=model._meta.label,
        object_id="",
        object_name=name[:200],
        before={},
        after=dict(after),
    )


def record(events: Iterable[Event]) -> None:
    """Save audit rows, in one statement."""
    bulk.insert(AuditEvent, [event._asdict() for event in events])


def writable(values: Mapping[str, object]) -> dict[str, object]:
    """Values of fields as JSON: numbers, truth values and null unchanged, the rest as text, secrets masked."""

    def written(value: object) -> object:
        if isinstance(value, bool | int | float | None):
            return value
        return ", ".join(map(english, value)) if isinstance(value, list) else english(value)

    return {name: MASK if is_secret(name) else written(value) for name, value in values.items()}
