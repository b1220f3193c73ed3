"""The training loop, its losses, stages and checkpoints.

A recipe and batches enter; trained tensors and a history of losses leave. Scores nothing on test objects.
"""
