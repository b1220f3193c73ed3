"""Liveness and readiness of the running service. Knows nothing of Kafka, HTTP or the network.

A process that answers requests while its worker is stuck is up but broken: health is judged by progress.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from broker_filter.secret import conceal


@dataclass(frozen=True, slots=True)
class HealthState:
    """Good or not, and why."""

    good: bool
    text: str


class Health:
    """What the service says of itself; the threads of the service write, the threads of the server read.

    Parameters
    ----------
    stuck_after_s
        Seconds without progress, while alerts wait, that are called stuck.
    clock
        Seconds that never go back.
    """

    def __init__(self, stuck_after_s: float, clock: Callable[[], float]) -> None:
        self._stuck_after_s = stuck_after_s
        self._clock = clock
        self._lock = threading.Lock()
        self._last_poll_s = self._last_progress_s = clock()
        self._waiting_alerts = 0
        self._unready = {"starting": "the service starts"}
        self._trouble: str | None = None
        self._warnings: dict[str, str] = {}

    def polled(self) -> None:
        """The poll loop went round."""
        with self._lock:
            self._last_poll_s = self._clock()

    def progressed(self) -> None:
        """A batch was delivered and settled."""
        with self._lock:
            self._last_progress_s = self._clock()
            self._trouble = None

    def waiting(self, alerts: int) -> None:
        """How many alerts wait: in the queue, or in Kafka beyond what is committed."""
        with self._lock:
            if alerts > 0 and self._waiting_alerts == 0:  # idle until now: the time without work was not stuck
                self._last_progress_s = max(self._last_progress_s, self._clock())
            self._waiting_alerts = alerts

    def in_trouble(self, text: str) -> None:
        """A failure that is being retried; said until the next progress."""
        with self._lock:
            self._trouble = conceal(text)

    def unready(self, what: str, why: str) -> None:
        """``what`` is missing until it is said to be ready."""
        with self._lock:
            self._unready[what] = conceal(why)

    def ready(self, what: str) -> None:
        """``what`` is there."""
        with self._lock:
            self._unready.pop(what, None)

    def warn(self, what: str, text: str | None) -> None:
        """Something that readiness shall tell although the service works; None: no more."""
        with self._lock:
            if text is None:
                self._warnings.pop(what, None)
            else:
                self._warnings[what] = text

    def alive(self) -> HealthState:
        """False when the poll loop hangs, or alerts wait and none is finished for too long."""
        with self._lock:
            now = self._clock()
            trouble = f"; last failure: {self._trouble}" if self._trouble else ""
            silent_s = now - self._last_poll_s
            if silent_s > self._stuck_after_s:
                return HealthState(False, f"the poll loop hangs for {silent_s:.0f} s{trouble}")
            idle_s = now - self._last_progress_s
            if self._waiting_alerts and idle_s > self._stuck_after_s:
                return HealthState(
                    False, f"{self._waiting_alerts} alerts wait, none finished for {idle_s:.0f} s{trouble}"
                )
            return HealthState(True, f"ok{trouble}")

    def able(self) -> HealthState:
        """False until the network is warm, the store open and partitions assigned."""
        with self._lock:
            if self._unready:
                return HealthState(False, "; ".join(self._unready.values()))
            return HealthState(True, "; ".join(["ready", *self._warnings.values()]))
