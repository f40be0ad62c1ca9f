"""The rows: organizations, their people, codes and keys, wrong codes, the audit trail, files of tables.

What belongs to a person alone is in `organizations/people/models.py`.
"""

from organizations.models.audit import AuditEvent
from organizations.models.codes import (
    CODE_LIFETIME,
    CODE_MIN_LENGTH,
    BindingCode,
    BindingCodeQuerySet,
    check_own_code,
)
from organizations.models.failures import CLOCK_TOLERANCE, BindingFailure, BindingFailureQuerySet
from organizations.models.files import OPEN_JOBS, FileJob, FilePiece
from organizations.models.keys import IdempotentAnswer, OrganizationAPIKey
from organizations.models.members import Invitation, Membership, Role
from organizations.models.organizations import Organization, new_organization_id
from organizations.people.models import Preference, RecoveryCode, SavedFilter, SecondFactor, UserSession

__all__ = [
    "CLOCK_TOLERANCE",
    "CODE_LIFETIME",
    "CODE_MIN_LENGTH",
    "OPEN_JOBS",
    "AuditEvent",
    "BindingCode",
    "BindingCodeQuerySet",
    "BindingFailure",
    "BindingFailureQuerySet",
    "FileJob",
    "FilePiece",
    "IdempotentAnswer",
    "Invitation",
    "Membership",
    "Organization",
    "OrganizationAPIKey",
    "Preference",
    "RecoveryCode",
    "Role",
    "SavedFilter",
    "SecondFactor",
    "UserSession",
    "check_own_code",
    "new_organization_id",
]
