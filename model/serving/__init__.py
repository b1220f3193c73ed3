"""Trained weights at work.

Weights with their card enter; calibrated probabilities, unknown scores and ONNX files leave. Knows nothing of training.
"""
