"""Views of a running service, for people and for monitors.

Records of what was done enter; metrics, health, traces and the status page leave. Knows nothing of what it watches.
"""
