"""Unambiguous dates and 24 hours: the operator compares these times with logs all day."""

DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i"
YEAR_MONTH_FORMAT = "M Y"
DATETIME_FORMAT = "Y-m-d H:i e"  # with the zone, as `time_zones.written`
SHORT_DATE_FORMAT = "Y-m-d"
SHORT_DATETIME_FORMAT = "Y-m-d H:i e"
