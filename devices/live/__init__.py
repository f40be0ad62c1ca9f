"""What browsers and programs are sent over WebSocket when something changes."""
