"""Layers and statistics that networks are built of.

Pixels, fluxes and features enter and leave as tensors. Know no network as a whole, no file and no training.
"""
