"""What web and worker processes show of themselves, and what the database shows of all, for Prometheus."""
