"""A simulated sky to learn from. Recipes and seeds enter; data sets, alert packets and their truth leave.

Knows nothing of training and nothing of the broker.
"""
