"""Configurations of librdkafka's clients from our settings, and its messages as ours. Opens no connection itself."""

from concurrent.futures import Future
from operator import methodcaller
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Message as KafkaMessage

from broker_filter.config import KafkaSettings
from broker_filter.errors import ConfigurationError
from broker_filter.logs import logger
from broker_filter.records import Message, Origin

Configuration = dict[str, Any]
CLIENT_ID = "ictc"
TRANSACTION_TIMEOUT_MS = 30_000
UNREADABLE_HEADERS = (("ictc.headers_unreadable", b"a name is no UTF-8"),)
_CHECKED_HEADERS = methodcaller("headers")  # an optimised call of Python 3.11 does not look for errors


class _LibraryLog:
    """librdkafka's own lines, at the level of details: what matters comes through its error callbacks too."""

    def log(self, level: int, text: str, *arguments: object) -> None:
        logger("librdkafka").debug(text, *arguments)


LIBRARY_LOG: Any = _LibraryLog()


def common_configuration(settings: KafkaSettings) -> Configuration:
    """What every client needs: where, and as whom."""
    configuration: Configuration = {"client.id": CLIENT_ID, **settings.client, "bootstrap.servers": settings.brokers}
    if settings.username is not None:
        configuration["sasl.username"] = settings.username
    if settings.password is not None:
        configuration["sasl.password"] = settings.password.get_secret_value()
    return configuration


def refuse_contradictions(settings: KafkaSettings) -> None:
    """A user who signs on nowhere would wait for ever: the broker closes what it does not understand.

    Raises
    ------
    ConfigurationError
    """
    protocol = str(settings.client.get("security.protocol", "plaintext")).lower()
    if settings.username is not None and not protocol.startswith("sasl"):
        raise ConfigurationError(
            f"kafka.username is set, but security.protocol in kafka.client is {protocol}, which signs nobody on: set "
            "SASL_SSL or SASL_PLAINTEXT there (and sasl.mechanism), or leave kafka.username away"
        )


def consumer_configuration(settings: KafkaSettings) -> Configuration:
    """A consumer that commits nothing by itself."""
    configuration = {
        "topic.metadata.refresh.interval.ms": 30_000,  # a night's new topic is found within half a minute
        "queued.max.messages.kbytes": 65_536,  # librdkafka's own buffer of all partitions together, 64 MiB
        "fetch.wait.max.ms": 100,
        **common_configuration(settings),
        **settings.consumer,
        "group.id": settings.group,
        "auto.offset.reset": "error",  # the consumer decides, because what fell out of the log is lost
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,  # the only way to know the end where control records follow the last message
        "allow.auto.create.topics": False,
    }
    if settings.instance_id is not None:
        configuration["group.instance.id"] = settings.instance_id
    return configuration


def rebalances_in_steps(configuration: Configuration) -> bool:
    """True where the group takes and gives single partitions (cooperative-sticky, KIP-848), not all at once."""
    strategy = str(configuration.get("partition.assignment.strategy", ""))
    return "cooperative" in strategy or configuration.get("group.protocol") == "consumer"


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


def transactional_configuration(producer: Configuration, transactional_id: str) -> Configuration:
    """A producer of transactions that are aborted half a minute after their process died."""
    timeout_ms = min(int(producer["delivery.timeout.ms"]), TRANSACTION_TIMEOUT_MS)
    return {
        "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        **producer,
        "transactional.id": transactional_id,
        "delivery.timeout.ms": timeout_ms,  # librdkafka asks that it is no longer
    }


def answer_of(future: "Future[Any]", limit_s: float) -> Any:
    """What Kafka answers to a request of the administrator's client.

    Raises
    ------
    KafkaException
        It refuses, or does not answer within ``limit_s``.
    """
    try:
        return future.result(limit_s)
    except TimeoutError:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no answer within {limit_s:g} s")) from None


def as_message(raw: KafkaMessage) -> Message:
    """A message of librdkafka's as ours."""
    kind, timestamp_ms = raw.timestamp()
    value = raw.value()
    return Message(
        value or b"",
        Origin(raw.topic() or "", raw.partition() or 0, raw.offset() or 0),
        timestamp_ms if kind else None,
        _headers_of(raw),
        _bytes_of(raw.key()),
        tombstone=value is None,
    )


def _headers_of(raw: KafkaMessage) -> tuple[tuple[str, bytes], ...]:
    """A message's headers; one word in their place where a name is no UTF-8, which the client cannot read.

    It then answers with a list that must not be touched, and an error that only a checked call raises at once.
    """
    try:
        headers: Any = _CHECKED_HEADERS(raw) or ()
    except (SystemError, UnicodeDecodeError):
        return UNREADABLE_HEADERS
    return tuple((name, one if isinstance(one, bytes) else str(one or "").encode()) for name, one in headers)


def _bytes_of(key: object) -> bytes | None:
    return key if isinstance(key, bytes) or key is None else str(key).encode()
