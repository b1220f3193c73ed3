"""Offsets at which the reading of a part of the topics begins and ends, from times. Reads no messages."""

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from broker_filter.config import KafkaSettings, Settings
from broker_filter.kafka.admin import ANSWER_S, KafkaCluster
from broker_filter.kafka.clients import LIBRARY_LOG, common_configuration
from broker_filter.kafka.refusals import configuring, translated
from broker_filter.logs import facts, logger
from broker_filter.records import Partition

# The group has members already: another process was first and has said where it begins.
_OTHERS_WERE_FIRST = frozenset(
    {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS}
)
BEGUN = "begins here"  # metadata of an offset up to which nothing was read
log = logger("topics")


def set_beginning(settings: Settings, cluster: KafkaCluster) -> None:
    """Commit where a group that has no offset of any of the topics begins, where that is not their beginning.

    Once for the life of a group, before anybody reads. With ``span.from_time`` that is the first message of that time
    or later; with ``kafka.start`` latest the ends, so that whatever comes later (a nightly topic, another partition,
    alerts during a restart) has a beginning, and is read from there.

    Raises
    ------
    RetryableError, FatalError
        As ``Admin.cluster``.
    """
    begin, partitions = settings.span.begin, _partitions(settings.kafka, cluster)
    at_ends = settings.kafka.start == "latest" and settings.span.name is None
    if not partitions or (begin is None and not at_ends):
        return
    with _client(settings.kafka, f"cannot set where group {settings.kafka.group} begins") as consumer:
        if any(answer.offset >= 0 for answer in consumer.committed(partitions, ANSWER_S)):
            return
        starts = _offsets_at(consumer, partitions, begin)
        offsets = [TopicPartition(*partition, offset, BEGUN) for partition, offset in starts.items()]
        consumer.commit(offsets=offsets, asynchronous=False)
        where = "at the ends of its topics" if begin is None else f"at {begin.isoformat()}"
        offsets_by_name = {f"{partition.topic}-{partition.number}": offset for partition, offset in starts.items()}
        log.info("a new group begins %s", where, extra=facts(offsets=offsets_by_name))


def has_read(settings: KafkaSettings, cluster: KafkaCluster) -> bool:
    """True where the group has committed an offset after reading.

    Raises
    ------
    RetryableError, FatalError
        As ``Admin.cluster``.
    """
    if not (partitions := _partitions(settings, cluster)):
        return False
    with _client(settings, f"cannot find what group {settings.group} has read") as consumer:
        return any(one.offset > 0 and one.metadata != BEGUN for one in consumer.committed(partitions, ANSWER_S))
    return False


def ends(settings: Settings, cluster: KafkaCluster) -> dict[Partition, int] | None:
    """Offsets at which each partition's reading ends; None where it never does.

    Raises
    ------
    RetryableError, FatalError
        As ``Admin.cluster``.
    """
    if not settings.span.ends:
        return None
    with _client(settings.kafka, "cannot find where the topics end") as consumer:
        return _offsets_at(consumer, _partitions(settings.kafka, cluster), settings.span.end)


def _partitions(settings: KafkaSettings, cluster: KafkaCluster) -> list[TopicPartition]:
    topics = cluster.matching(settings.topics)
    return [TopicPartition(topic, number) for topic, count in topics.items() for number in range(count)]


def _offsets_at(
    consumer: Consumer, partitions: Sequence[TopicPartition], time: dt.datetime | None
) -> dict[Partition, int]:
    """The first message of this time or later in each partition, its end where there is none; None: the end."""
    at = OFFSET_END if time is None else int(1000 * time.timestamp())
    offset_of = _offsets_by_time(consumer, partitions, at)
    if open_ended := [TopicPartition(*partition) for partition, offset in offset_of.items() if offset < 0]:
        offset_of |= _offsets_by_time(consumer, open_ended, OFFSET_END)
    return offset_of


def _offsets_by_time(consumer: Consumer, partitions: Sequence[TopicPartition], at: int) -> dict[Partition, int]:
    answers = consumer.offsets_for_times([TopicPartition(p.topic, p.partition, at) for p in partitions], ANSWER_S)
    for answer in answers:
        if answer.error is not None:
            raise KafkaException(answer.error)
    return {Partition(answer.topic, answer.partition): answer.offset for answer in answers}


@contextmanager
def _client(settings: KafkaSettings, doing: str) -> Iterator[Consumer]:
    configuration = common_configuration(settings) | {"group.id": settings.group, "enable.auto.commit": False}
    with configuring("client"):
        consumer = Consumer(configuration, logger=LIBRARY_LOG)
    try:
        yield consumer
    except KafkaException as error:
        if error.args[0].code() not in _OTHERS_WERE_FIRST:
            raise translated(error.args[0], doing) from error
    finally:
        consumer.close()
