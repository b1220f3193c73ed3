"""Recipes as data sets of labelled, simulated series.

A recipe and a seed enter; series, labels and truths leave, the same bytes each time. Knows nothing of training.
"""
