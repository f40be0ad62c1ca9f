"""Sites and labels on devices."""
