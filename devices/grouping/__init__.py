"""Sites and labels on devices, and names for many at once."""
