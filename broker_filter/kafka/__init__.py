"""Kafka clients: what is read, what is written, and which offsets are done.

Topics enter as batches of messages; delivered results leave as committed offsets. Knows nothing of what a message
holds.
"""
