"""Members of organizations: who may be added, removed or invited, and the link to set a first password."""

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.db import transaction
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from organizations import audit
from organizations.audit import Actor
from organizations.models import Membership, Organization, Role
from organizations.tenancy import is_platform_staff


def find_user(username: str) -> User | None:
    """The user of this name who may become a member, None if the name is new.

    Raises ValidationError for a name that cannot be one, and for a user who may not be a member: one who may not
    sign in, and platform staff, who need no membership. The words tell neither that there is such a user nor why.
    """
    model = get_user_model()
    user = model.objects.filter(username__iexact=username).first()
    if user is None:
        model(username=username).clean_fields(exclude=["password"])
        return None
    if user.is_superuser or not (user.is_active and user.is_staff):
        raise ValidationError("This name cannot be added here. Choose another, or ask the platform's staff.")
    return user


def add(*, actor: Actor, organization: Organization, username: str, role: int) -> Membership:
    """Make this user a member, audited; a new name becomes a user who has no password yet."""
    with transaction.atomic():
        user = find_user(username) or _create_user(username, actor, organization)
        membership = Membership.objects.create(user=user, organization=organization, role=role)
        after = {"username": user.username, "role": role}
        audit.record([audit.event(actor, "add", membership, organization_id=organization.pk, after=after)])
    return membership


def _create_user(username: str, actor: Actor, organization: Organization) -> User:
    user = get_user_model().objects.create_user(username, password=None, is_staff=True)
    audit.record([audit.event(actor, "create user", user, organization_id=organization.pk)])
    return user


def is_last_manager(membership: Membership) -> bool:
    """Whether the organization would be without a manager if this one went."""
    if membership.role != Role.MANAGER:
        return False
    managers = Membership.objects.filter(organization=membership.organization_id, role=Role.MANAGER)
    others = managers.exclude(pk=membership.pk).filter(user__is_active=True)
    return not others.exists()


def may_invite(actor: Actor, user: User) -> bool:
    """Whether this actor may be given a link that sets the user's first password.

    Only for a user who never had a password; and for one who is a member elsewhere too only platform staff,
    since the link opens everything that the user may do.
    """
    if actor.user is None or user.has_usable_password():
        return False
    if is_platform_staff(actor.user):
        return True
    managed = Membership.objects.filter(user=actor.user.pk, role=Role.MANAGER).values("organization")
    elsewhere = user.memberships.exclude(organization__in=managed).exists()
    return not (elsewhere or user.is_superuser)


def invite(user: User, *, actor: Actor, organization: Organization) -> str:
    """An address where the user sets a first password, once, within PASSWORD_RESET_TIMEOUT; audited."""
    audit.record([audit.event(actor, "invite", user, organization_id=organization.pk)])
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    path = reverse("password_reset_confirm", args=[uid, default_token_generator.make_token(user)])
    return f"{settings.PUBLIC_URL}{path}"
