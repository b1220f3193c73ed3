"""The networks, their data, their training: everything that knows torch and nothing that knows Kafka."""
