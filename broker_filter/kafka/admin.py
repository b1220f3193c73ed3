"""Topics that the settings name: which exist, and the creation of those that do not. Knows nothing of messages."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ClusterMetadata, NewTopic

from broker_filter.config import KafkaSettings, Settings
from broker_filter.errors import ConfigurationError
from broker_filter.kafka.clients import (
    LIBRARY_LOG,
    answer_of,
    common_configuration,
    consumer_configuration,
    producer_configuration,
    refuse_contradictions,
)
from broker_filter.kafka.refusals import HOPELESS, configuring, explained, is_hopeless, translated
from broker_filter.kafka.rights import missing_rights
from broker_filter.logs import facts, logger
from broker_filter.topic_pattern import compile_pattern

ANSWER_S = 5.0  # longest wait for one answer of the broker
SHOWN_POLL_S = 0.05
log = logger("topics")


@dataclass(frozen=True, slots=True)
class KafkaCluster:
    """What a broker told."""

    brokers: int
    partitions: dict[str, int]  # topic -> number of partitions
    refused: dict[str, KafkaError] = field(default_factory=dict)  # topics that we may not see, and why

    def matching(self, patterns: Iterable[str]) -> dict[str, int]:
        """The topics that these names and regular expressions choose."""
        chosen = {}
        for pattern in patterns:
            for topic, count in self.partitions.items():
                if topic == pattern or (pattern.startswith("^") and compile_pattern(pattern).matches(topic)):
                    chosen[topic] = count
        return chosen


class Admin:
    """Asks the broker, and says why it does not answer."""

    def __init__(self, settings: KafkaSettings) -> None:
        refuse_contradictions(settings)
        self._refusal: KafkaError | None = None
        with configuring("client"):
            self._client = AdminClient(
                common_configuration(settings) | {"error_cb": self._remember}, logger=LIBRARY_LOG
            )
        self._brokers = settings.brokers

    def _remember(self, error: KafkaError) -> None:
        if is_hopeless(error) or self._refusal is None:
            self._refusal = error

    def cluster(self) -> KafkaCluster:
        """Brokers and topics.

        Raises
        ------
        RetryableError
            Nobody answers.
        FatalError
            We are refused.
        """
        try:
            metadata: ClusterMetadata = self._client.list_topics(timeout=ANSWER_S)
        except KafkaException as error:
            self._client.poll(0)
            raise translated(self._refusal or error.args[0], f"no answer from Kafka at {self._brokers}") from error
        return KafkaCluster(
            len(metadata.brokers),
            {name: len(topic.partitions) for name, topic in metadata.topics.items() if topic.error is None},
            {n: t.error for n, t in metadata.topics.items() if t.error is not None and t.error.code() in HOPELESS},
        )

    def refuse_missing_rights(self, reads: Sequence[str], writes: Sequence[str], group: str) -> None:
        """Ask whether we may do what we shall have to.

        Raises
        ------
        ConfigurationError
            A right is missing.
        RetryableError, FatalError
            As ``cluster``.
        """
        try:
            missing = list(missing_rights(self._client, reads, writes, group))
        except KafkaException as error:
            raise translated(error.args[0], f"no answer from Kafka at {self._brokers}") from error
        if missing:
            raise ConfigurationError(f"this user lacks {', '.join(missing)}: let the cluster's administrator give it")

    def create(self, topics: Iterable[str], partitions: int) -> None:
        """Make topics, as often replicated as the broker likes, and wait until they are shown.

        Raises
        ------
        RetryableError, FatalError
            As ``cluster``.
        """
        wanted = [NewTopic(topic, num_partitions=partitions) for topic in topics]
        for topic, future in self._client.create_topics(wanted, operation_timeout=ANSWER_S).items():
            try:
                answer_of(future, 2 * ANSWER_S)
                log.info("topic created", extra=facts(topic=topic, partitions=partitions))
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise translated(error.args[0], f"cannot create topic {topic}") from error
        names, deadline_s = {topic.topic for topic in wanted}, time.monotonic() + ANSWER_S
        while not names <= self.cluster().partitions.keys() and time.monotonic() < deadline_s:
            time.sleep(SHOWN_POLL_S)  # a broker learns of a topic a moment after its controller made it

    def delete(self, topics: Iterable[str]) -> None:
        """Remove topics; one that is gone already is no failure."""
        for topic, future in self._client.delete_topics(list(topics), operation_timeout=ANSWER_S).items():
            try:
                answer_of(future, 2 * ANSWER_S)
            except KafkaException as error:
                log.warning("cannot remove a topic", extra=facts(topic=topic, error=str(error)))


def refuse_unknown_settings(settings: Settings) -> None:
    """Let librdkafka read what its consumer and producer are to be given, before either connects.

    Raises
    ------
    ConfigurationError
        It does not know a key, or refuses its value.
    """
    reading = consumer_configuration(settings.kafka)
    writing = producer_configuration(settings.kafka, settings.output.delivery_timeout_s)
    with configuring("consumer"):
        Consumer(reading, logger=LIBRARY_LOG).close()
    with configuring("producer"):
        Producer(writing, logger=LIBRARY_LOG)


def output_topics(settings: Settings) -> list[str]:
    """The topics that we write to."""
    dead_letters = [settings.dead_letter.topic] if settings.dead_letter.topic else []
    return list(dict.fromkeys([settings.output.topic, *dead_letters, *(r.topic for r in settings.output.routes)]))


def ensure_outputs(settings: Settings) -> KafkaCluster:
    """See that the topics that we write to are there, or make them if we may.

    Raises
    ------
    ConfigurationError
        An output topic is missing, or would be read again by ourselves.
    RetryableError, FatalError
        As ``Admin.cluster``.
    """
    refuse_loops(settings)
    admin = Admin(settings.kafka)
    cluster = admin.cluster()
    missing = missing_outputs(settings, cluster)
    if missing:
        admin.create(missing, settings.output.partitions)
    for topic in settings.kafka.topics:
        if not cluster.matching([topic]):
            log.warning("no topic to read yet", extra=facts(topic=topic))
    return cluster


def missing_outputs(settings: Settings, cluster: KafkaCluster) -> list[str]:
    """Topics that we write to and that are to be made.

    Raises
    ------
    ConfigurationError
        We may not see one of them, or may not make those that are missing.
    """
    for topic in (*output_topics(settings), *settings.kafka.topics):
        if topic in cluster.refused:
            raise ConfigurationError(f"Kafka refuses us topic {topic}: {explained(cluster.refused[topic])}")
    missing = [topic for topic in output_topics(settings) if topic not in cluster.partitions]
    if missing and not settings.output.create_topics:
        raise ConfigurationError(
            f"Kafka at {settings.kafka.brokers} has no topic {' and no '.join(missing)} that we may see: create it, "
            "name another by output.topic (dead_letter.topic), or let the service do so by output.create_topics"
        )
    return missing


def refuse_loops(settings: Settings) -> None:
    """A topic that is both written and read would feed itself for ever."""
    fed = KafkaCluster(0, dict.fromkeys(output_topics(settings), 0)).matching(settings.kafka.topics)
    if fed:
        raise ConfigurationError(f"kafka.topics also reads {', '.join(fed)}, which we write to: name other topics")
