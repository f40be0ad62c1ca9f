"""The line between the MQTT broker and the Django apps."""
