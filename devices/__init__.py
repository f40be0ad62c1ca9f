"""Docks and aircraft: how they are bound, which belongs to which, how they are."""
