"""Who sees a job, who may fetch its file, and as whom a worker carries it out."""

from typing import Any, Final

from django.db.models import Q, QuerySet

from organizations import rights
from organizations.models import FileJob, OrganizationAPIKey, Role
from organizations.rights import Rights
from organizations.tenancy import Principal, held_by, is_platform_staff

CANCEL_ROLE: Final = Role.MANAGER  # from which on a member cancels jobs of others


def jobs(held: Rights) -> "QuerySet[FileJob]":
    """The jobs that the caller sees: their own, and those of an organization that somebody of their role asked for."""
    rows: QuerySet[FileJob] = FileJob.objects.all()
    if is_platform_staff(held.principal):
        return rows
    if not held.principal.is_active:
        return rows.none()
    found = _is_own(held.principal) & (Q(organization=None) | Q(organization__in=list(held.roles)))
    for pk, role in held.roles.items():
        found |= Q(organization=pk, role__in=[one for one in Role if role.includes(one)])
    return rows.filter(found)


def is_own(held: Rights, job: FileJob) -> bool:
    """Whether the caller asked for this job."""
    if isinstance(held.principal, OrganizationAPIKey):
        return job.requested_with_id == held.principal.pk
    return job.requested_by_id is not None and job.requested_by_id == held.principal.pk


def may_take(held: Rights, job: FileJob) -> bool:
    """Whether the caller may have the file now: with the role of its requester in each organization that it is about.

    What is shown once is for the requester alone.
    """
    if job.kind == FileJob.Kind.IMPORT and not is_own(held, job):
        return False
    return _has_role(held, job)


def may_cancel(held: Rights, job: FileJob) -> bool:
    """Whether the caller may stop it."""
    return is_own(held, job) or held.may(CANCEL_ROLE, job.organization_id)


def principal_of(job: FileJob) -> Any:
    """Who asked for it, as they are now, but seeing nothing beyond the organization of the job; None: deleted."""
    found: Any = job.asked_by
    if found is not None and not isinstance(found, OrganizationAPIKey) and job.reach:
        found._memberships = [one for one in held_by(found) if one.organization_id in job.reach]
    return found


def rights_of(job: FileJob) -> Rights | None:
    """What the requester may do now; None if that is less than when they asked, or if they are deleted."""
    principal = principal_of(job)
    if principal is None or not principal.is_active:
        return None
    held = rights.of(principal)
    return held if _has_role(held, job) else None


def _has_role(held: Rights, job: FileJob) -> bool:
    """Whether these are staff, or have the role of the requester in each organization that the job is about."""
    if is_platform_staff(held.principal):
        return True
    return bool(job.role and job.reach) and all(held.may(Role(job.role), pk) for pk in job.reach)


def _is_own(principal: Principal) -> Q:
    if isinstance(principal, OrganizationAPIKey):
        return Q(requested_with=principal.pk)
    return Q(requested_by=principal.pk)
