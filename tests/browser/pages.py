"""What tests in a browser do with its pages."""

from django.test import Client


def session(user, url):
    """The cookie of a new session of this user."""
    client = Client()
    client.force_login(user)
    return {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": url}


def too_wide(page, *widths):
    """Those of these widths of a screen, in CSS pixels, at which this page must be scrolled sideways."""

    def must_scroll(width):
        page.set_viewport_size({"width": width, "height": 844})
        return page.evaluate("document.documentElement.scrollWidth") > width

    return [width for width in widths if must_scroll(width)]
