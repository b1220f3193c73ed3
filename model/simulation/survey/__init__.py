"""A survey's camera, point spread function, cadence, depth and selection.

A survey's name and a season enter; visits and detection limits leave. Knows no source.
"""
