"""Programs that a benchmark starts: those it compares with, and work that needs a process of its own."""
