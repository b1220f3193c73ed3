"""Pages and a query interface over the objects that this service saw.

Answers that were delivered enter; pages and JSON leave, read from a bounded index and from the store of series. Knows
no Kafka and no network.
"""
