"""When the rights of a user or API key change, their sockets check them at once, and end if they may not go on.

Without this it would happen with their next regular check, up to half a minute later (`devices/live/websocket.py`), as
it still does when a key expires.
"""

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from devices.live import broadcast
from organizations.api_keys import key_revoked
from organizations.models import Membership, Organization, OrganizationAPIKey
from organizations.people.models import UserSession


@receiver(post_delete, sender=UserSession)
def session_ended(instance: UserSession, **_signal: object) -> None:
    """Signing out deletes the session; Django's own signal for it comes before that."""
    if instance.user_id is not None:
        broadcast.tell_rights("user", instance.user_id)


@receiver([post_save, post_delete], sender=get_user_model())
def user_changed(instance: AbstractBaseUser, **_signal: object) -> None:
    """A new password, or a user who was deactivated or deleted."""
    broadcast.tell_rights("user", instance.pk)


@receiver([post_save, post_delete], sender=Membership)
def membership_changed(instance: Membership, **_signal: object) -> None:
    """A new membership, or one that was deleted."""
    broadcast.tell_rights("user", instance.user_id)


@receiver(post_save, sender=Organization)
def organization_changed(instance: Organization, **_signal: object) -> None:
    """From now on its members may need a second factor."""
    if instance.second_factor_required:
        for user_id in instance.memberships.values_list("user_id", flat=True):
            broadcast.tell_rights("user", user_id)


@receiver(post_delete, sender=OrganizationAPIKey)
def key_deleted(instance: OrganizationAPIKey, **_signal: object) -> None:
    """A key was deleted."""
    broadcast.tell_rights("key", instance.pk)


@receiver(key_revoked)
def revoked(key: OrganizationAPIKey, **_signal: object) -> None:
    """Keys are revoked by an UPDATE, for which Django sends no signal."""
    broadcast.tell_rights("key", key.pk)
