"""Routes: which further topics a classification goes to, by the rules of the settings. Knows no Kafka."""

from collections.abc import Iterable, Sequence
from typing import Any

from broker_filter.output.formats import as_json
from broker_filter.records import Classification
from broker_filter.rules import NAMES, PROBABILITY, Decision, Route


def values_of(classification: Classification) -> dict[str, Any]:
    """What rules read: fields of the output, p_CLASS, ``best`` and ``changedMind``."""
    fields = as_json(classification)
    values = {name: fields.get(name) for name in NAMES}
    best, before = classification.best, classification.previous_class
    values["best"] = best
    values["changedMind"] = best is not None and before is not None and best != before
    return values | {f"{PROBABILITY}{name}": p for name, p in classification.probabilities.items()}


class Router:
    """All routes of a service."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)

    def decisions(self, classification: Classification) -> list[tuple[Route, Decision]]:
        """What each route says."""
        if not self.routes:
            return []
        values = values_of(classification)
        known = {name.removeprefix(PROBABILITY) for name in values if name.startswith(PROBABILITY)}
        return [
            (route, route.decide(values) if route.classes <= known else Decision.UNDECIDED) for route in self.routes
        ]

    def topics(self, classification: Classification) -> Sequence[str]:
        """The topics that a classification goes to beside the output topic, each once."""
        chosen = [route.topic for route, decision in self.decisions(classification) if decision is Decision.ROUTED]
        return tuple(dict.fromkeys(chosen))
