"""What `mqtt_bridge/protocol` and telemetry say of messages, for catalogues: the protocol core knows nothing of Django.

The journal and devices keep these sentences in English, with values in place of the braces.
"""

from typing import Final

from django.utils.translation import gettext_noop

SENTENCES: Final = (
    gettext_noop("{size} bytes"),
    gettext_noop("{size} bytes, at most {most}"),
    gettext_noop("{length} characters"),
    gettext_noop("at most {most} characters"),
    gettext_noop("about {count} values, at most {most}"),
    gettext_noop("more than {most} levels"),
    gettext_noop("the envelope is of type {type}"),
    gettext_noop("data is of type {type}"),
    gettext_noop("{field} is missing"),
    gettext_noop("{field} is unusable"),
    gettext_noop("{field} is not a number"),
    gettext_noop("{field} is not a list of up to {most}"),
    gettext_noop("an element of a list is not a number"),
    gettext_noop("a list of {count} entries"),
    gettext_noop("neither result nor status"),
    gettext_noop("absent, empty, or neither text nor a whole number"),
    gettext_noop("PostgreSQL stores none"),
    # what we could not send
    gettext_noop("a message needs a tid"),
    gettext_noop("tid, bid and method have at most {most} characters"),
    gettext_noop("not JSON"),
    gettext_noop("NUL character"),
    gettext_noop("not a number"),
    gettext_noop("no topic for this"),
    gettext_noop("no access for this"),
)
