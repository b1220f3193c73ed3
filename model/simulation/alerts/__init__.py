"""Simulated objects as the alert packets of a survey.

Drawn objects enter; ZTF and LSST packets of their nights leave, as files or on a topic. Knows nothing of the broker.
"""
