"""How docks prove to the broker who they are, and what the broker lets them do."""
