"""Unambiguous dates and 24 hours: the operator compares these times with logs all day."""

DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i"
YEAR_MONTH_FORMAT = "M Y"
DATETIME_FORMAT = "j M Y H:i e"  # with the time zone
SHORT_DATE_FORMAT = "j M Y"
SHORT_DATETIME_FORMAT = "j M Y H:i e"
