"""The broker's own bounds of what our settings ask for, to be named where it refuses them."""

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from broker_filter.kafka.clients import LIBRARY_LOG, Configuration, answer_of

ANSWER_S = 5.0
SHARED_KEYS = ("bootstrap.servers", "client.id", "security.protocol")
SHARED_PREFIXES = ("sasl.", "ssl.", "socket.")
SESSION_TIMEOUT_MS = 45_000  # librdkafka's default
BOUNDS = ("group.min.session.timeout.ms", "group.max.session.timeout.ms")


def refused_value(error: KafkaError, configuration: Configuration) -> str:
    """What was asked for and what the broker allows, where the error is about a number; empty otherwise."""
    if error.code() != KafkaError.INVALID_SESSION_TIMEOUT:
        return ""
    wanted = f"session.timeout.ms is {configuration.get('session.timeout.ms', SESSION_TIMEOUT_MS)}"
    try:
        allowed = _broker_settings(configuration)
        return f"{wanted}, the broker allows {allowed[BOUNDS[0]]} to {allowed[BOUNDS[1]]} ({', '.join(BOUNDS)})"
    except (KafkaException, KeyError, StopIteration):  # without the right to ask
        return f"{wanted}; Kafka allows 6000 to 1800000 unless the broker says otherwise ({', '.join(BOUNDS)})"


def _broker_settings(configuration: Configuration) -> dict[str, str]:
    keys = {k: v for k, v in configuration.items() if k in SHARED_KEYS or k.startswith(SHARED_PREFIXES)}
    client = AdminClient(keys, logger=LIBRARY_LOG)
    broker = next(iter(client.list_topics(timeout=ANSWER_S).brokers))
    (answer,) = client.describe_configs([ConfigResource(ResourceType.BROKER, str(broker))]).values()
    return {name: entry.value for name, entry in answer_of(answer, ANSWER_S).items()}
