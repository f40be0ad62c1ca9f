"""The admin of unlock licenses and license files. Django imports this package, which registers its pages."""

from licenses.admin import files, licenses, records

__all__ = ["files", "licenses", "records"]
