"""Settings in, configurations of librdkafka's clients out; its errors in, ours out. Opens no connection itself."""

from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Message as KafkaMessage

from broker_filter.config import KafkaSettings
from broker_filter.errors import ConfigurationError, FatalError, RetryableError
from broker_filter.logs import logger
from broker_filter.records import Message, Origin

Configuration = dict[str, Any]

# What no waiting mends: the operator must change something.
HOPELESS = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.INVALID_GROUP_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError._FATAL,
    }
)
_CREDENTIALS = "check kafka.username, kafka.password, and sasl.mechanism and security.protocol in kafka.client"
REMEDIES = {
    KafkaError._AUTHENTICATION: _CREDENTIALS,
    KafkaError.SASL_AUTHENTICATION_FAILED: _CREDENTIALS,
    KafkaError.UNSUPPORTED_SASL_MECHANISM: _CREDENTIALS,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "give this user the right to read kafka.topics and to write output.topic "
    "and dead_letter.topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "give this user the right to kafka.group, or choose another group; some "
    "surveys ask that it starts with the user's name",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "give this user the right IdempotentWrite on the cluster",
    KafkaError.INVALID_GROUP_ID: "choose another kafka.group",
    KafkaError.FENCED_INSTANCE_ID: "another process has the same kafka.instance_id: give each process its own",
}


class _LibraryLog:
    """librdkafka's own lines, at the level of details: what matters comes through its error callbacks too."""

    def log(self, level: int, text: str, *arguments: object) -> None:
        logger("librdkafka").debug(text, *arguments)


LIBRARY_LOG: Any = _LibraryLog()


def common_configuration(settings: KafkaSettings) -> Configuration:
    """What every client needs: where, and as whom."""
    configuration: Configuration = {"client.id": "ictc", **settings.client, "bootstrap.servers": settings.brokers}
    if settings.username is not None:
        configuration["sasl.username"] = settings.username
    if settings.password is not None:
        configuration["sasl.password"] = settings.password.get_secret_value()
    return configuration


def consumer_configuration(settings: KafkaSettings) -> Configuration:
    """A consumer that commits nothing by itself."""
    configuration = {
        "topic.metadata.refresh.interval.ms": 30_000,  # a night's new topic is found within half a minute
        "queued.max.messages.kbytes": 65_536,  # librdkafka's own buffer of all partitions together, 64 MiB
        "fetch.wait.max.ms": 100,
        **common_configuration(settings),
        **settings.consumer,
        "group.id": settings.group,
        "auto.offset.reset": settings.start,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,  # the only way to know the end where control records follow the last message
        "allow.auto.create.topics": False,
    }
    if settings.instance_id is not None:
        configuration["group.instance.id"] = settings.instance_id
    return configuration


def producer_configuration(settings: KafkaSettings, delivery_timeout_s: float) -> Configuration:
    """An idempotent producer with acknowledgement of all replicas."""
    return {
        "linger.ms": 5,
        "message.max.bytes": 64 * 2**20,  # dead letters are as large as what came; the broker has its own limit
        "queue.buffering.max.kbytes": 512 * 2**10,
        **common_configuration(settings),
        **settings.producer,
        "enable.idempotence": True,
        "delivery.timeout.ms": int(1000 * delivery_timeout_s),
    }


def as_message(raw: KafkaMessage) -> Message:
    """A message of librdkafka's as ours."""
    kind, timestamp_ms = raw.timestamp()
    headers: Any = raw.headers() or ()
    return Message(
        raw.value() or b"",
        Origin(raw.topic() or "", raw.partition() or 0, raw.offset() or 0),
        timestamp_ms if kind else None,
        tuple((name, value if isinstance(value, bytes) else str(value or "").encode()) for name, value in headers),
    )


def explained(error: KafkaError) -> str:
    """What the broker or librdkafka said, and what to do about it where that is known."""
    fenced = error.code() == KafkaError._FATAL and "group.instance.id" in error.str()  # the code within is not told
    remedy = REMEDIES.get(KafkaError.FENCED_INSTANCE_ID if fenced else error.code())
    return f"{error.str()} ({error.name()})" + (f": {remedy}" if remedy else "")


def translated(error: KafkaError, doing: str) -> RetryableError | FatalError:
    """Our error for theirs: stop where only the operator can help, try again otherwise."""
    if error.code() in HOPELESS or error.fatal():
        return FatalError(f"{doing}: {explained(error)}")
    return RetryableError(f"{doing}: {explained(error)}")


def refused_configuration(error: KafkaException | TypeError | ValueError, client: str) -> ConfigurationError:
    """librdkafka does not know a key, or refuses its value; the values are not repeated."""
    inner = error.args[0] if error.args else error
    text = inner.str() if isinstance(inner, KafkaError) else str(inner)
    return ConfigurationError(f"librdkafka refuses the settings of the {client}: {text}")
