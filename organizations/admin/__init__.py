"""The admin of organizations and what belongs to them. Django imports this package, which registers its pages."""

from organizations.admin import invitations, keys, members, organizations, people, records

__all__ = ["invitations", "keys", "members", "organizations", "people", "records"]
