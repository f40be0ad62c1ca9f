"""Kills, cuts and floods of real servers; each test has a run without the protection that must be seen to fail."""
