"""A service's store after a night, and answers to put into an index."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from broker_filter.alerts.decode import Arrival, connect
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.classify.classifier import load_classifiers
from broker_filter.classify.pipeline import Pipeline
from broker_filter.records import Classification, Detection, Message, Origin
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.web.index import ObjectIndex
from broker_filter.web.objects import Lobby, Objects
from model.simulation.alerts.night import write_night
from model.taxonomy import load_taxonomy


@dataclass(frozen=True)
class Service:
    """What a service that has run for a night holds."""

    lobby: Lobby
    objects: Objects
    store: LmdbSeriesStore
    answers: dict[str, list[Classification]]  # by object

    @property
    def longest(self) -> str:
        """The object with most alerts."""
        return max(self.answers, key=lambda name: len(self.answers[name]))


@contextmanager
def night_of_objects(folder: Path) -> Iterator[Service]:
    """The objects of a night, their series in a store and their answers in an index."""
    packets = [packet for packet, _ in write_night("ztf", 6, 15, seed=5)]
    classifiers = load_classifiers(["ztf"])
    card = classifiers["ztf"].card
    decoder = connect(Schemas(), {"ztf": card}, 1)
    arrivals = [one for one in decoder.decode([Message(packet, Origin("night")) for packet in packets])]
    arrivals.sort(key=lambda one: one.time_mjd if isinstance(one, Arrival) else 0.0)
    store, index = LmdbSeriesStore(folder / "store", sync=False), ObjectIndex(folder / "objects.sqlite")
    pipeline = Pipeline(decoder, classifiers, store)
    answers: dict[str, list[Classification]] = {}
    for start in range(0, len(arrivals), 16):
        done = pipeline.classify(arrivals[start : start + 16])
        pipeline.settle(done)
        for outcome in done.outcomes:
            assert isinstance(outcome.result, Classification)
            answers.setdefault(outcome.result.object_id, []).append(outcome.result)
            index.enter([outcome.result])
    index.flush()
    objects, lobby = Objects(index, store, {"ztf": card.channels}, card.classes, load_taxonomy()), Lobby()
    lobby.introduce(objects)
    yield Service(lobby, objects, store, answers)
    index.close()
    store.close()


def answer(object_id: str = "ZTF1", alert_id: int = 1, mjd: float = 60_000.0, **fields: object) -> Classification:
    """An answer with a class."""
    plain = Classification(
        "ztf", object_id, alert_id, mjd, "g", 1, {"SNIa": 0.75, "AGN": 0.25}, "fake", "1", "t", 0.5,
        known_count=1, detection=Detection(10.0, 20.0, 1000.0, 50.0, 0.9), days_since_first=1.0,
        publication_time_ms=1_000 * alert_id,
    )  # fmt: skip
    return replace(plain, **fields)  # type: ignore[arg-type]
