"""Whether everything that this server needs is there and set up well: `manage.py doctor` and the page "System"."""
