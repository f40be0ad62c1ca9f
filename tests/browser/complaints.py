"""What pages complain about: their console, their scripts, their policy, their requests."""

import re

FAILED = "Failed to load resource"  # of an answer of 400 or more, or of a request that is collected when it fails


class Complaints:
    """Collects what the watched pages complain about; a page says some of it after all that a test waits for.

    So a test does not clear away what it caused but allows it, and all is judged when the pages are closed.
    """

    def __init__(self):
        self.heard = []
        self.is_closing = False  # set by who closes the pages, which cuts off what they still fetch
        self.allowed = []
        self.wanted = []

    def watch(self, page):
        """Collect from now on what this page complains about.

        Its console names each answer of 400 or more. Who listens to answers is told of all, which costs more than a
        twentieth of the time of a page.
        """
        page.on("console", self._hear_console)
        page.on("pageerror", lambda error: self.heard.append(str(error)))
        page.on("requestfailed", self._hear_failure)

    def allow(self, *patterns):
        """Ignore the complaints that match one of these regular expressions from their beginning."""
        self.allowed += patterns

    def want(self, *patterns):
        """Allow these, and miss each of them that is not heard."""
        self.wanted += patterns

    def judge(self):
        """What should not have been said and what should have been, as sentences; none is the good case."""
        expected = [*self.allowed, *self.wanted]
        heard = [said for said in self.heard if not any(re.match(pattern, said) for pattern in expected)]
        missed = [pattern for pattern in self.wanted if not any(re.match(pattern, said) for said in self.heard)]
        return [*heard, *(f"nobody said {pattern}" for pattern in missed)]

    def _hear_console(self, message):
        if message.text.startswith(f"{FAILED}: the server responded"):
            self.heard.append(message.location["url"])
        elif message.type == "error" and FAILED not in message.text:
            self.heard.append(message.text)

    def _hear_failure(self, request):
        if request.failure != "net::ERR_ABORTED" and not self.is_closing:  # the next page cut it short
            self.heard.append(f"{request.url} {request.failure}")
