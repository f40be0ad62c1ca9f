"""What a process shows of itself: figures for Prometheus, and the form and the fields of its log."""
