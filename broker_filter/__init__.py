"""The stream: alerts from Kafka or archives become published classifications."""
