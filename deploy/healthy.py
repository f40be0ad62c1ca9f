"""Exits 0 if this process's own web server answers: `python deploy/healthy.py [PORT] [PATH]`."""

import os
import sys
import urllib.request

PORT, PATH = (*sys.argv[1:], *("8000", "/readyz")[len(sys.argv) - 1 :])
# Django answers to its own names only, and over HTTPS, which a proxy before it would say.
host = os.environ.get("ALLOWED_HOSTS", "localhost").split(",")[0]
request = urllib.request.Request(f"http://127.0.0.1:{PORT}{PATH}", headers={"Host": host, "X-Forwarded-Proto": "https"})
with urllib.request.urlopen(request, timeout=4) as answer:  # noqa: S310
    sys.exit(answer.status != 200)
