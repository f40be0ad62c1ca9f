"""The project: settings, routes and the wiring between the apps."""
