"""Which objects there are: populations, redshifts, hosts, positions and labels.

A class and a random stream enter; a source in its scene, with its label, leaves. Knows no camera.
"""
