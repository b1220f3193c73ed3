"""Exactly-once delivery: a batch's records and the offsets of its messages in one Kafka transaction.

All of it becomes visible to readers with ``isolation.level=read_committed``, or nothing. A producer that another
process with the same transactional id has replaced, and a member that its group has put out, can commit nothing: the
broker refuses them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from broker_filter.errors import FatalError, RetryableError
from broker_filter.kafka.refusals import explained, is_hopeless
from broker_filter.kafka.sink import POLL_S, Record, Sink
from broker_filter.logs import facts, logger
from broker_filter.records import Outcome, Partition

STEP_S = 1.0  # one call of librdkafka's; it goes on where it stopped when it is called again
FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.TRANSACTION_COORDINATOR_FENCED,
    }
)
log = logger("transactions")


class AbortedError(Exception):
    """Nothing of the batch is visible, or it is not known: read its messages again from the committed offsets."""


class TransactionalSink(Sink):
    """A producer of transactions; parameters as Sink, with ``transactional.id`` in its configuration."""

    _begun = False  # the producer has its epoch

    def begin(self) -> None:
        """End what an earlier producer of this transactional id left open; called again it does nothing.

        Raises
        ------
        RetryableError
            The broker does not answer.
        FatalError
            It refuses us.
        """
        if not self._begun:
            try:
                self._patiently(self._producer.init_transactions, "begin transactions")
            except AbortedError as error:
                raise RetryableError(str(error)) from error
            self._begun = True

    def deliver_with_offsets(self, outcomes: Sequence[Outcome], offsets: Mapping[Partition, int], member: Any) -> None:
        """Publish everything and commit the offsets, in one transaction.

        Parameters
        ----------
        outcomes
            Of a batch.
        offsets
            Next offset of each of the batch's partitions.
        member
            The consumer's group metadata when the batch was taken: the broker refuses a member of an earlier time.

        Raises
        ------
        AbortedError
            Read the messages again from the committed offsets.
        FatalError
            Only the operator can help; nothing of the batch is visible.
        """
        records = [*self._classifications(outcomes), *self._dead_letters(outcomes)]
        positions = [TopicPartition(*partition, offset) for partition, offset in offsets.items()]
        try:
            self.begin()
            while (shorter := self._attempt(records, positions, member)) is not None:
                records = shorter
        except KafkaException as error:
            self._abort_for(error.args[0])
        except RetryableError as error:
            self._abort()
            raise AbortedError(str(error)) from error
        except FatalError:
            self._abort()
            raise

    def _attempt(self, records: Sequence[Record], positions: list[TopicPartition], member: Any) -> list[Record] | None:
        """One transaction; None when it is committed, else shorter records to try: the broker found some too large."""
        self._producer.begin_transaction()
        too_large = self._send(records)
        if too_large:
            self._abort()
            self.begin()
            return [record.shorter or record if record in too_large else record for record in records]
        self._patiently(
            lambda timeout_s: self._producer.send_offsets_to_transaction(positions, member, timeout_s), "send offsets"
        )
        self._patiently(self._producer.commit_transaction, "commit")
        self._repeats.over("Kafka takes our records again")
        return None

    def _patiently(self, step: Callable[[float], Any], doing: str) -> None:
        """Call until it is done: librdkafka's transactional calls go on where they stopped."""
        deadline_s = time.monotonic() + self._delivery_timeout_s
        while True:
            try:
                step(STEP_S)
                return
            except KafkaException as error:
                if not error.args[0].retriable():
                    if doing == "begin transactions":
                        self._abort_for(error.args[0])
                    raise
                if self._given_up.is_set() or time.monotonic() > deadline_s:
                    self._replace_producer()
                    raise AbortedError(f"the broker does not answer to {doing}: {error.args[0].str()}") from error
                self._repeats.warn(f"cannot {doing} yet: {error.args[0].name()}", detail=error.args[0].str())

    def _abort_for(self, error: KafkaError) -> None:
        """Abort and say why; always raises."""
        if error.code() in FENCED or (error.fatal() and "fenced" in error.str().lower()):
            raise FatalError(
                f"another process took over our transactional id, this one commits nothing any more: {explained(error)}"
            )
        self._abort()
        # A static member that was put out joins again under its old name and so fences what it had in work; if it was
        # another process, the consumer hears of it.
        if is_hopeless(error) and not error.fatal() and error.code() != KafkaError.FENCED_INSTANCE_ID:
            raise FatalError(f"cannot commit a transaction: {explained(error)}")
        raise AbortedError(f"{error.str()} ({error.name()})")

    def _abort(self) -> None:
        """Make what was sent invisible; a producer that cannot do so is replaced, and its successor does it."""
        deadline_s = time.monotonic() + self._delivery_timeout_s
        while not self._given_up.is_set() and time.monotonic() < deadline_s:
            try:
                self._producer.abort_transaction(STEP_S)
                return
            except KafkaException as error:
                if not error.args[0].retriable():
                    break
        self._replace_producer()

    def _replace_producer(self) -> None:
        super()._replace_producer()
        self._begun = False

    def close(self) -> None:
        """Let the producer go; a transaction that is open is aborted by the next one, or by the broker in time."""
        if self._begun and not self._given_up.is_set():
            try:
                self._producer.abort_transaction(POLL_S)
            except KafkaException as error:  # none is open
                log.debug("nothing to abort", extra=facts(error=str(error)))
        super().close()
