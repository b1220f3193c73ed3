"""Archives of alerts: reading, replaying, inspecting and republishing them.

Files, folders and tars enter; classifications, pictures or Kafka messages leave. Knows nothing of the live service.
"""
