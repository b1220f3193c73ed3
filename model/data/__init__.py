"""Data sets of labelled series on disk.

Series, labels and truths enter as Arrow files and leave as records. Knows nothing of training or of the simulator.
"""
