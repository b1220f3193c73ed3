"""What makes a speed or a science number: one command each, ``python -m benchmarks.NAME``."""
