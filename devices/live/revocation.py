"""Whose rights changed: their sockets are told, and end within a second if they may not go on.

Without this they would find out with their next look, up to half a minute later (`devices/live/websocket.py`), as they
still do when a key expires.
"""

from typing import Any

from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.sessions.models import Session
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from devices.live import broadcast
from organizations.api_keys import key_revoked
from organizations.models import Membership, OrganizationAPIKey


@receiver(post_delete, sender=Session)
def session_ended(instance: Session, **_signal: Any) -> None:
    """Signing out deletes the session; Django's own signal for it comes before that."""
    if user := instance.get_decoded().get(SESSION_KEY):
        broadcast.tell_rights("user", user)


@receiver([post_save, post_delete], sender=get_user_model())
def user_changed(instance: Any, **_signal: Any) -> None:
    """A new password, a user who may not sign in any more or is gone."""
    broadcast.tell_rights("user", instance.pk)


@receiver([post_save, post_delete], sender=Membership)
def membership_changed(instance: Membership, **_signal: Any) -> None:
    """A membership that is gone, or new."""
    broadcast.tell_rights("user", instance.user_id)


@receiver(post_delete, sender=OrganizationAPIKey)
def key_deleted(instance: OrganizationAPIKey, **_signal: Any) -> None:
    """A key that is gone."""
    broadcast.tell_rights("key", instance.pk)


@receiver(key_revoked)
def revoked(key: OrganizationAPIKey, **_signal: Any) -> None:
    """Keys are revoked by an UPDATE, of which Django says nothing."""
    broadcast.tell_rights("key", key.pk)
