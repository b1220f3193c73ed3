"""What people and monitors see of a running service.

Records of what was done enter; metrics, health, traces and the status page leave. Knows nothing of what it watches.
"""
