"""In which language and zone a person reads."""
