"""Data sets as batches for training.

Stored series enter; augmented, collated batches of a split leave. Knows nothing of losses or networks.
"""
