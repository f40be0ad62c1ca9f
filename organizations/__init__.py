"""Who owns devices: organizations, their members and binding codes, and who may see what."""
