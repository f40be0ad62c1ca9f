"""A DJI dock with its aircraft, as the server meets it: written from docs/protocol.md, without Django."""
