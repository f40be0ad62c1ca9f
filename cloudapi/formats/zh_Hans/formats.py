"""As in English: unambiguous dates, 24 hours, and the time zone beside every moment."""

DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i"
YEAR_MONTH_FORMAT = "Y-m"
DATETIME_FORMAT = "Y-m-d H:i e"
SHORT_DATE_FORMAT = "Y-m-d"
DATE_INPUT_FORMATS = ["%Y-%m-%d", "%Y/%m/%d"]  # a form shows the first
SHORT_DATETIME_FORMAT = "Y-m-d H:i e"
