"""Comparisons of systems on one data set.

Systems and seeds enter; tables with intervals and paired tests leave. Trains by ``learning``, scores by ``evaluation``.
"""
