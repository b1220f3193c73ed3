"""Programs that run beside the service in benchmarks and tests: Redis, Prometheus, Apache Kafka."""
