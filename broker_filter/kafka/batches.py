"""Micro-batches of messages, closed by number of alerts, by bytes or by age. Pure: time is an argument."""

import math
from collections import deque
from collections.abc import Callable, Iterable

from broker_filter.avro.container import records_of
from broker_filter.records import Message

IDLE_SHARE = 0.25  # of the wait for a fuller batch, where nothing else is to be done


class Batcher:
    """Holds messages until a batch is due.

    Parameters
    ----------
    alert_limit, byte_limit
        What closes a batch; a single message may be larger. A container counts with the alerts that it says it holds.
    wait_s
        Age of the oldest message that closes a batch, seconds; a quarter of it where whoever takes batches has nothing
        else to do. Alerts that come one by one are answered soon then, and fuller batches, which cost less an alert,
        make themselves as soon as there is work.
    """

    def __init__(self, alert_limit: int, byte_limit: int, wait_s: float) -> None:
        self._alert_limit, self._byte_limit, self._wait_s = alert_limit, byte_limit, wait_s
        self._held: deque[tuple[float, int, Message]] = deque()  # when it came, alerts
        self._held_bytes = self._held_alerts = 0

    def __len__(self) -> int:
        return len(self._held)

    def add(self, messages: Iterable[Message], now_s: float) -> None:
        """Hold these, which came now."""
        for message in messages:
            alerts = records_of(message.value, self._alert_limit)
            self._held.append((now_s, alerts, message))
            self._held_alerts += alerts
            self._held_bytes += len(message.value)

    def due(self, now_s: float, idle: bool = False) -> bool:
        """True when there is a batch to take."""
        return self.due_in_s(now_s, idle) == 0

    def due_in_s(self, now_s: float, idle: bool = False) -> float:
        """Seconds until there is a batch to take, 0 when there is one, for ever while nothing is held."""
        if not self._held:
            return math.inf
        if self._held_alerts >= self._alert_limit or self._held_bytes >= self._byte_limit:
            return 0.0
        wait_s = IDLE_SHARE * self._wait_s if idle else self._wait_s
        return max(self._held[0][0] + wait_s - now_s, 0.0)

    def take(self) -> tuple[float, tuple[Message, ...]]:
        """When its first message came, and the next batch, in order of arrival; it has at least one message."""
        opened_s, alerts, first = self._held.popleft()
        batch, size = [first], len(first.value)
        while self._held:
            _, more, message = self._held[0]
            if alerts + more > self._alert_limit or size + len(message.value) > self._byte_limit:
                break
            self._held.popleft()
            batch.append(message)
            alerts, size = alerts + more, size + len(message.value)
        self._held_alerts -= alerts
        self._held_bytes -= size
        return opened_s, tuple(batch)

    def keep(self, wanted: Callable[[Message], bool]) -> None:
        """Let go of all messages but the wanted ones, such as those whose partition has left."""
        self._held = deque(item for item in self._held if wanted(item[2]))
        self._held_alerts = sum(alerts for _, alerts, _ in self._held)
        self._held_bytes = sum(len(message.value) for _, _, message in self._held)
