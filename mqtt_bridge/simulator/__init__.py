"""A DJI dock with its aircraft, as the server meets it: written from PROTOCOL.md, without Django."""
