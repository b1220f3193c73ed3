"""The newest classifications, each object's probabilities so far, and rates. Draws nothing.

What the stream does is kept by reference and bounded, so that a batch costs microseconds here, whoever looks on.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from broker_filter.records import BatchReport, Classification, Message, object_key

OBJECTS_SHOWN = 12
REMEMBERED = 20_000  # classifications in the histories of all objects, some 40 MB; the longest silent object goes first
POINTS_OF_OBJECT = 60  # of one history; the oldest goes first
PACKET_LIMIT_BYTES = 2 * 2**20  # a larger message is not kept for its stamps: 12 of these are 24 MiB
RATE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Shown:
    """One object whose classification was published lately."""

    newest: Classification
    history: tuple[Classification, ...]  # the newest word on each of its alerts, in order of (time, alert id)
    packet: Message | None  # with the stamps of the newest alert; None when it was too large to keep


class Recent:
    """Written by the worker, read by anybody.

    Parameters
    ----------
    clock
        Seconds that never go back.
    """

    def __init__(
        self,
        objects: int = OBJECTS_SHOWN,
        remembered: int = REMEMBERED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects, self._remembered, self._clock = objects, remembered, clock
        self._lock = threading.Lock()
        self._newest: OrderedDict[str, tuple[Classification, Message | None]] = OrderedDict()
        self._histories: OrderedDict[str, dict[int, Classification]] = OrderedDict()
        self._points = 0
        self._seconds: deque[tuple[int, int]] = deque(maxlen=RATE_SECONDS + 1)  # (second, alerts), oldest first

    def enter(self, report: BatchReport) -> None:
        """A batch was delivered and settled."""
        with self._lock:
            for outcome in report.outcomes:
                if not isinstance(outcome.result, Classification) or not outcome.result.probabilities:
                    continue
                self._remember(outcome.result)
                if not outcome.result.revision:  # a revision comes with the packet of another alert
                    self._show(outcome.result, outcome.message)
            self._forget_surplus()
            self._count(report.accounts.read)

    def shown(self) -> list[Shown]:
        """The objects classified last, newest first, each once."""
        with self._lock:
            return [
                Shown(newest, self._history_of(key, newest), packet)
                for key, (newest, packet) in reversed(self._newest.items())
            ]

    def per_second(self) -> list[int]:
        """Alerts finished in each of the last ten minutes' whole seconds, oldest first."""
        now = int(self._clock())
        with self._lock:
            counted = dict(self._seconds)
        return [counted.get(second, 0) for second in range(now - RATE_SECONDS, now)]

    def _remember(self, result: Classification) -> None:
        key = _key(result)
        history = self._histories.setdefault(key, {})
        self._histories.move_to_end(key)
        self._points += result.alert_id not in history
        history[result.alert_id] = result
        if len(history) > POINTS_OF_OBJECT:
            del history[min(history.values(), key=_order).alert_id]
            self._points -= 1

    def _show(self, result: Classification, message: Message) -> None:
        key = _key(result)
        packet = message if len(message.value) <= PACKET_LIMIT_BYTES else None
        self._newest[key] = (result, packet)
        self._newest.move_to_end(key)
        if len(self._newest) > self._objects:
            self._newest.popitem(last=False)

    def _forget_surplus(self) -> None:
        while self._points > self._remembered:
            _, history = self._histories.popitem(last=False)
            self._points -= len(history)

    def _count(self, alerts: int) -> None:
        second = int(self._clock())
        if self._seconds and self._seconds[-1][0] == second:
            alerts += self._seconds.pop()[1]
        self._seconds.append((second, alerts))

    def _history_of(self, key: str, newest: Classification) -> tuple[Classification, ...]:
        return tuple(sorted(self._histories.get(key, {newest.alert_id: newest}).values(), key=_order))


def _key(result: Classification) -> str:
    return object_key(result.survey, result.object_id)


def _order(result: Classification) -> tuple[float, int]:
    return (result.time_mjd, result.alert_id)
