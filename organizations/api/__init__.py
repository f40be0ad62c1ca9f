"""REST: organizations and their binding codes; what the API of every app builds on."""
