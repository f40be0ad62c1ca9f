"""As little of Django as the command needs: no database, no other app."""

INSTALLED_APPS = ["mqtt_bridge"]
USE_TZ = True
