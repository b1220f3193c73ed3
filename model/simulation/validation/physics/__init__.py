"""Checks of what exists before any pixel: cadence, depth, brightness, colours, hosts, leaks. Knows no image."""
