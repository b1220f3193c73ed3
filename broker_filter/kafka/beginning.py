"""Where a group that is new begins, where that is not the beginning of what the topics keep."""

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from broker_filter.config import KafkaSettings
from broker_filter.kafka.admin import ANSWER_S, Cluster
from broker_filter.kafka.clients import LIBRARY_LOG, common_configuration
from broker_filter.kafka.refusals import refused_configuration, translated
from broker_filter.logs import facts, logger

# The group has members already: another process was first and has said where it begins.
_OTHERS_WERE_FIRST = frozenset(
    {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS}
)
log = logger("topics")


def begin_at_ends(settings: KafkaSettings, cluster: Cluster) -> None:
    """Commit the ends of the topics for a group that has no offset of any of them, where ``kafka.start`` is latest.

    Once for the life of a group, before anybody reads: whatever comes later (a nightly topic, another partition, alerts
    during a restart) has a beginning, and is read from there.

    Raises
    ------
    RetryableError, FatalError
        As ``Admin.cluster``.
    """
    topics = cluster.matching(settings.topics)
    partitions = [TopicPartition(topic, n) for topic, count in topics.items() for n in range(count)]
    if settings.start != "latest" or not partitions:
        return
    try:
        consumer = Consumer(
            common_configuration(settings) | {"group.id": settings.group, "enable.auto.commit": False},
            logger=LIBRARY_LOG,
        )
    except (KafkaException, TypeError, ValueError) as error:
        raise refused_configuration(error, "client") from error
    try:
        if any(answer.offset >= 0 for answer in consumer.committed(partitions, ANSWER_S)):
            return
        ends = consumer.offsets_for_times(
            [TopicPartition(p.topic, p.partition, OFFSET_END) for p in partitions], ANSWER_S
        )
        consumer.commit(offsets=[end for end in ends if end.offset >= 0], asynchronous=False)
        log.info("a new group begins at the ends of its topics", extra=facts(topics=topics))
    except KafkaException as error:
        if error.args[0].code() not in _OTHERS_WERE_FIRST:
            raise translated(error.args[0], f"cannot set where group {settings.group} begins") from error
    finally:
        consumer.close()
