"""A watch over alerts that were rejected as ``internal``: a few are odd alerts, many are a bug of this version.

Once more than half of 1,000 consecutive alerts are, the service must stop and nothing of them may be committed, so that
a mended version reads them again. Which of the first ones belonged to such a run is known only when it has ended:
from an internal rejection on, finished batches therefore wait for their commit until 1,000 later alerts have been
seen, or ``HELD_S`` have passed, because a slow stream must not stand uncommitted for hours.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from broker_filter.errors import FatalError, Rejection
from broker_filter.kafka.offsets import Ticket
from broker_filter.records import Classification, Outcome, Rejected

WINDOW_ALERTS = 1_000
MOST_INTERNAL = WINDOW_ALERTS // 2
HELD_S = 30.0  # longest wait of a finished batch for its commit; a busy stream brings 1,000 alerts within it


class _Held(NamedTuple):
    ticket: Ticket
    until_alert: int  # number of alerts seen at which nothing of the batch can belong to a run of failures any more
    until_s: float


class InternalWatch:
    """Counts internal rejections among the newest alerts and holds back commits; used from one thread alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._is_internal: deque[bool] = deque(maxlen=WINDOW_ALERTS)
        self._internal = self._seen = 0
        self._held: deque[_Held] = deque()

    def see(self, outcomes: Sequence[Outcome]) -> None:
        """Count the outcomes of a batch, before any of them is delivered.

        Raises
        ------
        FatalError
            When more than half of the newest 1,000 alerts were internal rejections.
        """
        for outcome in outcomes:
            result = outcome.result
            if isinstance(result, Classification) and result.revision:
                continue
            self._count(isinstance(result, Rejected) and result.reason == Rejection.INTERNAL)
            if len(self._is_internal) == WINDOW_ALERTS and self._internal > MOST_INTERNAL:
                raise FatalError(
                    f"{self._internal} of {WINDOW_ALERTS} consecutive alerts could not be decoded for a bug of this "
                    "version, more than half: none of them is committed; look for 'an alert could not be decoded' in "
                    "the log, report it, and run the version from before or a mended one"
                )

    def _count(self, internal: bool) -> None:
        if len(self._is_internal) == WINDOW_ALERTS:
            self._internal -= self._is_internal[0]
        self._is_internal.append(internal)
        self._internal += internal
        self._seen += 1

    def finish(self, ticket: Ticket) -> list[Ticket]:
        """Take the ticket of a delivered and settled batch; return those that may be committed now, oldest first."""
        if not self._internal and not self._held:
            return [ticket]
        now_s = self._clock()
        self._held.append(_Held(ticket, self._seen + WINDOW_ALERTS, now_s + HELD_S))
        return self.due()

    def due(self) -> list[Ticket]:
        """Tickets that have waited long enough."""
        now_s, tickets = self._clock(), []
        while self._held and (
            not self._internal or self._seen >= self._held[0].until_alert or now_s >= self._held[0].until_s
        ):
            tickets.append(self._held.popleft().ticket)
        return tickets

    def release(self) -> list[Ticket]:
        """All tickets that wait: the service ends in good order, or partitions leave."""
        tickets = [held.ticket for held in self._held]
        self._held.clear()
        return tickets

    @property
    def holds(self) -> bool:
        """Whether any ticket waits."""
        return bool(self._held)
