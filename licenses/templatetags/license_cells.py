"""The cells of license lists, for templates."""

from django import template

from licenses.admin import cells

register = template.Library()
register.simple_tag(cells.name_cell, name="license_name")
register.filter("middle", cells.middle)
register.filter("last_day", cells.last_day)
register.simple_tag(cells.standing_mark, name="license_standing")
register.simple_tag(cells.apart_note, name="license_apart")
register.simple_tag(cells.dock_cell, name="license_dock")
register.simple_tag(cells.switch_cell, name="license_switch")
