"""The most probable classes of objects after their last alerts, bounded: what an answer calls ``previous_class``."""

from collections import OrderedDict
from collections.abc import Iterable

from broker_filter.records import Classification, object_key

OBJECTS_KEPT = 200_000  # some 100 MB
KEPT_OF_OBJECT = 4  # newest answers: an alert that comes again finds the one before it

Order = tuple[float, int]  # time and alert id


class ClassMemory:
    """Written when a batch is settled, read when the next is answered, by one thread."""

    def __init__(self, limit: int = OBJECTS_KEPT) -> None:
        self._limit = limit
        self._objects: OrderedDict[str, list[tuple[Order, str]]] = OrderedDict()

    def before(self, key: str, order: Order) -> tuple[Order, str] | None:
        """The newest answer that is remembered of an object's alerts before this one: its order and class."""
        return max((entry for entry in self._objects.get(key, ()) if entry[0] < order), default=None)

    def knows(self, key: str, order: Order, next_order: Order) -> bool:
        """Whether the answer to an alert of this order, or to a later one before the next, is remembered."""
        newest = self.before(key, next_order)
        return newest is not None and newest[0] >= order

    def enter(self, answers: Iterable[Classification]) -> None:
        """Remember answers that were delivered; those without a class change nothing."""
        for answer in answers:
            if (best := answer.best) is not None:
                self.remember(object_key(answer.survey, answer.object_id), (answer.time_mjd, answer.alert_id), best)

    def remember(self, key: str, order: Order, best: str) -> None:
        """Remember the class after one alert; what was said of the same alert before is forgotten."""
        entries = [entry for entry in self._objects.pop(key, []) if entry[0] != order]
        self._objects[key] = sorted([*entries, (order, best)])[-KEPT_OF_OBJECT:]
        if len(self._objects) > self._limit:
            self._objects.popitem(last=False)
