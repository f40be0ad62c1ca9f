"""Docks and aircraft: how they are bound, what carries what, how they are."""
