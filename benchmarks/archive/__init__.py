"""Replays of archives by one process and by a cluster, side by side; ``python -m benchmarks.archive``."""
