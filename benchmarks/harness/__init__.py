"""What the benchmarks share: servers, load, filled tables, and the form of a result."""
