"""The stored series of each object.

Observations and embeddings enter; windows of an object's series leave, also after a restart. Knows no survey, no
network and nothing of Kafka.
"""
