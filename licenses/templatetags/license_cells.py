"""The cells of license lists, for templates."""

from django import template

from licenses import admin_rows

register = template.Library()
register.simple_tag(admin_rows.name_cell, name="license_name")
register.simple_tag(admin_rows.standing_mark, name="license_standing")
register.simple_tag(admin_rows.dock_cell, name="license_dock")
register.simple_tag(admin_rows.switch_cell, name="license_switch")
