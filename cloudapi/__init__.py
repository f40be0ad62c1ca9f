"""The project: settings, URLs, the MQTT routing table, embedded servers. Wiring only."""
