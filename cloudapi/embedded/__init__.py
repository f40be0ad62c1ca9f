"""Private servers and in-process stand-ins, for the demo, the tests and the benchmarks."""
