"""Measurements of speed and of science, a command each: ``python -m benchmarks.NAME``."""
