"""The admin's front: the site that all apps register on, and its start page."""
