"""The line to the broker: the only place that imports paho."""
