"""What the system costs, measured: ``make bench``, or one row by ``python -m benchmarks.NAME``."""
