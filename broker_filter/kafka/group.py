"""Members of our consumer group, asked for now and then without waiting for the answer."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from broker_filter.config import KafkaSettings
from broker_filter.kafka.clients import CLIENT_ID, LIBRARY_LOG, common_configuration
from broker_filter.kafka.refusals import configuring
from broker_filter.logs import logger

ANSWER_S = 10.0
ASK_EVERY_S = 10.0
log = logger("group")


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the group."""

    member_id: str
    client_id: str
    host: str


class GroupWatch:
    """The members of our group as the broker last told, at most ten seconds old while it answers."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._group = settings.group
        with configuring("client"):
            self._client = AdminClient(common_configuration(settings), logger=LIBRARY_LOG)
        self._asked: Future[Any] | None = None
        self._asked_s = -ASK_EVERY_S
        self._members: tuple[Member, ...] = ()

    def members(self, in_contact: bool = True) -> tuple[Member, ...]:
        """What is known now; asks again when that is old.

        Not while Kafka is out of reach: librdkafka 2.16 aborts the process when a question of this kind that found no
        broker in time meets one that comes back.
        """
        if self._asked is not None and self._asked.done():
            try:
                answer = self._asked.result()
                self._members = tuple(Member(m.member_id, m.client_id, m.host) for m in answer.members)
            except KafkaException as error:  # without the right to describe the group we go on without
                log.debug("the group cannot be described: %s", error)
            self._asked = None
        if in_contact and self._asked is None and time.monotonic() - self._asked_s >= ASK_EVERY_S:
            self._asked_s = time.monotonic()
            self._asked = self._client.describe_consumer_groups([self._group], request_timeout=ANSWER_S)[self._group]
        return self._members


def client_id(store_kind: str, store_id: str) -> str:
    """The client id of a process: its store's kind and identity, for all members of a group to compare."""
    return f"{CLIENT_ID}.{store_kind}.{store_id}"


def strangers(members: Sequence[Member], ours: str) -> list[Member]:
    """Members that keep their series in another store than we do: an object's alerts would be split between the two."""
    return [member for member in members if member.client_id != ours]
