"""Stories of objects from their alerts: decoded and classified in order of time, as the stream would."""

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.decode import Arrival, Decoder, connect
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.alerts.survey import SURVEYS
from broker_filter.classify.classifier import StreamClassifier
from broker_filter.classify.pipeline import Pipeline
from broker_filter.look.story import ObjectStory, story_of
from broker_filter.records import Alert, Classification, Message, Observation, Rejected
from broker_filter.series.lmdb.store import LmdbSeriesStore

ALERTS_AT_ONCE = 256
Item = TypeVar("Item")


def stories_of(
    messages: Iterable[Message | Rejected],
    classifiers: Mapping[str, StreamClassifier],
    schemas: Schemas,
    objects: Collection[str] = (),
    threads: int = 1,
) -> tuple[dict[str, ObjectStory], list[Rejected]]:
    """Classify what messages hold, each alert from what was known when it came.

    Parameters
    ----------
    objects
        Ids of the objects that are wanted; empty: all.

    Returns
    -------
    stories : by object id, in order of first alerts.
    rejected : what was no alert; where objects are named, only what stands among their alerts.
    """
    rejected: list[Rejected] = []
    with ExitStack() as stack:
        decoder = connect(schemas, {survey: one.card for survey, one in classifiers.items()}, threads)
        stack.callback(decoder.close)
        arrivals: list[Arrival] = []
        wanted = (message for message in messages if not objects or _tells_of(message, objects, schemas))
        for some in _in_batches(wanted):
            for result in decoder.decode(some):
                if isinstance(result, Rejected):
                    rejected.append(result)
                elif not objects or result.object_id in objects:
                    arrivals.append(replace(result, message=Message(b"", result.message.origin)))  # 70 kB less
    return tell(arrivals, answers_to(arrivals, classifiers), classifiers), rejected


def answers_to(arrivals: Iterable[Arrival], classifiers: Mapping[str, StreamClassifier]) -> list[Classification]:
    """The answers to decoded alerts in order of time, each from what was known when it came."""
    ordered = sorted(arrivals, key=lambda arrival: (arrival.time_mjd, arrival.alert_id))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ictc-look-"))
        store = LmdbSeriesStore(Path(folder), sync=False)
        stack.callback(store.close)
        pipeline = Pipeline(Decoder(_read_nothing, {}, threads=1), classifiers, store)
        return list(_answers(pipeline, ordered))


def _read_nothing(_: Message) -> Iterable[Alert]:
    """For a pipeline that gets alerts that are decoded already."""
    return ()


def _tells_of(message: Message | Rejected, objects: Collection[str], schemas: Schemas) -> bool:
    """Whether a message holds an alert of one of these objects; its stamps are not read."""
    if isinstance(message, Rejected):
        return False
    return any(isinstance(read, Alert) and read.object_id in objects for read in read_alerts(message, schemas))


def _in_batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while some := list(islice(iterator, ALERTS_AT_ONCE)):
        yield some


def _answers(pipeline: Pipeline, arrivals: Sequence[Arrival]) -> Iterator[Classification]:
    for some in _in_batches(arrivals):
        done = pipeline.classify(some)
        pipeline.settle(done)
        yield from (outcome.result for outcome in done.outcomes if isinstance(outcome.result, Classification))


def tell(
    arrivals: Iterable[Arrival], answers: Iterable[Classification], classifiers: Mapping[str, StreamClassifier]
) -> dict[str, ObjectStory]:
    """Stories by object id, of alerts and the answers to them."""
    observations: dict[str, list[Observation]] = {}
    for arrival in arrivals:
        if arrival.observation is not None:
            observations.setdefault(arrival.object_id, []).append(arrival.observation)
    by_object: dict[str, list[Classification]] = {}
    for answer in answers:
        by_object.setdefault(answer.object_id, []).append(answer)
    return {
        name: story_of(
            observations.get(name, ()),
            of_object,
            classifiers[of_object[0].survey].card.channels,
            SURVEYS[of_object[0].survey].arcsec_per_pixel,
        )
        for name, of_object in by_object.items()
    }
