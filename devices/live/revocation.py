"""When the rights of a user or API key change, their sockets check them at once, and end if they may not go on.

Without this it would happen with their next regular check, up to half a minute later (`devices/live/websocket.py`), as
it still does when a key expires.
"""

from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.sessions.models import Session
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from devices.live import broadcast
from organizations.api_keys import key_revoked
from organizations.models import Membership, OrganizationAPIKey


@receiver(post_delete, sender=Session)
def session_ended(instance: Session, **_signal: object) -> None:
    """Signing out deletes the session; Django's own signal for it comes before that."""
    if user := instance.get_decoded().get(SESSION_KEY):
        broadcast.tell_rights("user", user)


@receiver([post_save, post_delete], sender=get_user_model())
def user_changed(instance: AbstractBaseUser, **_signal: object) -> None:
    """A new password, or a user who was deactivated or deleted."""
    broadcast.tell_rights("user", instance.pk)


@receiver([post_save, post_delete], sender=Membership)
def membership_changed(instance: Membership, **_signal: object) -> None:
    """A new membership, or one that was deleted."""
    broadcast.tell_rights("user", instance.user_id)


@receiver(post_delete, sender=OrganizationAPIKey)
def key_deleted(instance: OrganizationAPIKey, **_signal: object) -> None:
    """A key was deleted."""
    broadcast.tell_rights("key", instance.pk)


@receiver(key_revoked)
def revoked(key: OrganizationAPIKey, **_signal: object) -> None:
    """Keys are revoked by an UPDATE, for which Django sends no signal."""
    broadcast.tell_rights("key", key.pk)
