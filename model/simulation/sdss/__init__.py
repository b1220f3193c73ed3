"""Real SDSS Stripe 82 frames as data sets.

Positions enter; stamps cut from archived frames leave, in the form of the simulated data sets. Draws nothing.
"""
