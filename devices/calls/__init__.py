"""A command to a dock, from asking for it to its end."""
