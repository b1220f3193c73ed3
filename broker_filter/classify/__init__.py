"""Decoded alerts as classifications.

Alerts and the stored series of their objects enter; an outcome for each alert leaves. Only its ``classifier``
touches torch; knows nothing of where alerts come from or where answers go.
"""
