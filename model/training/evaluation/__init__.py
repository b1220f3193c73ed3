"""Scores, calibration and reports of trained networks.

Answers and labels enter; metrics with intervals, calibrated cards and report pages leave. Trains nothing.
"""
