"""Classifications as bytes of the published formats.

Outcomes enter; JSON lines, Avro, Parquet and DESC messages leave. Knows nothing of networks or stores.
"""
