"""REST: devices, their journal, and what they are asked to do."""
