"""The web process: how it answers requests, whom it lets in, and whether it is well."""
