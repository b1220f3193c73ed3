"""Rights on topics and group that the service will need and does not have, as the broker tells them."""

from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from broker_filter.kafka.clients import answer_of
from broker_filter.kafka.refusals import is_hopeless

ANSWER_S = 10.0


def missing_rights(client: AdminClient, reads: Sequence[str], writes: Sequence[str], group: str) -> Iterator[str]:
    """One line for each right that is missing; a broker that does not tell rights (before Kafka 2.3) misses none.

    Raises
    ------
    KafkaException
        The broker does not answer.
    """
    needed = [(topic, AclOperation.READ) for topic in reads] + [(topic, AclOperation.WRITE) for topic in writes]
    answers = _answers(client, list({topic for topic, _ in needed}))
    for topic, operation in needed:
        if (operations := answers.get(topic)) is not None and operation not in operations:
            yield f"the right {operation.name} on topic {topic}"
    groups = client.describe_consumer_groups([group], include_authorized_operations=True, request_timeout=ANSWER_S)
    try:
        operations = answer_of(groups[group], ANSWER_S).authorized_operations
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:  # a group that is new: nothing forbids it
            return
        if not is_hopeless(error.args[0]):
            raise
        operations = []
    if operations is not None and AclOperation.READ not in operations:
        yield f"the right READ on group {group}"


def _answers(client: AdminClient, topics: Sequence[str]) -> dict[str, Any]:
    if not topics:
        return {}
    futures = client.describe_topics(
        TopicCollection(list(topics)), include_authorized_operations=True, request_timeout=ANSWER_S
    )
    return {topic: answer_of(future, ANSWER_S).authorized_operations for topic, future in futures.items()}
