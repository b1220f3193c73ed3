"""The service: start, run, drain, close. Alerts come from Kafka, classifications go to Kafka.

Here the rooms are put together and told to end; what they do is theirs.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from broker_filter.alerts.packet_schema import Schemas
from broker_filter.classify.classifier import StreamClassifier, cards_of
from broker_filter.classify.pipeline import Pipeline
from broker_filter.config import Settings, masked
from broker_filter.errors import ConfigurationError
from broker_filter.kafka import admin as topics
from broker_filter.kafka.clients import producer_configuration, transactional_configuration
from broker_filter.kafka.schema_registry import FAILURES
from broker_filter.kafka.sink import Sink
from broker_filter.kafka.span import ends, has_read, set_beginning
from broker_filter.kafka.transactions import TransactionalSink
from broker_filter.logs import facts, logger
from broker_filter.monitoring.health import Health
from broker_filter.monitoring.ledger import Ledger
from broker_filter.monitoring.metrics import Metrics
from broker_filter.monitoring.recent import Recent
from broker_filter.monitoring.status import StatusPage
from broker_filter.monitoring.traces import open_traces
from broker_filter.output.routes import Router
from broker_filter.records import (
    HIGHEST_ALERT_ID,
    PACKET_CLASSES,
    BatchReport,
    Classification,
    FinishedBatch,
    Partition,
)
from broker_filter.series.store import SeriesStore
from broker_filter.service import assembly
from broker_filter.service.poll_loop import PollLoop, tell_store_lost
from broker_filter.service.retries import patiently
from broker_filter.service.served_pages import page_server, routes_of
from broker_filter.service.stop import Stop
from broker_filter.service.store_of_settings import open_store
from broker_filter.service.worker import BatchWorker
from broker_filter.web.index import ObjectIndex
from broker_filter.web.objects import Lobby, Objects
from model.serving.card import ModelCard
from model.taxonomy import load_taxonomy

log = logger("service")
Witness = Callable[[FinishedBatch], None]


def serve(settings: Settings, stop: Stop, announce: Callable[[str], None] = lambda _: None) -> None:
    """Put the rooms together, run, and close them in the opposite order.

    Parameters
    ----------
    announce
        Told the address of the pages.

    Raises
    ------
    FatalError
        With a message for the operator; nothing undelivered was committed.
    """
    if not settings.kafka.topics:
        raise ConfigurationError("kafka.topics names no topic to read: give one, or ^regex$")
    log.info("settings", extra=facts(**masked(settings)))
    metrics, health = Metrics(), Health(settings.http.stuck_after_s, time.monotonic)
    ledger, recent, lobby, life = Ledger(metrics), Recent(), Lobby(), settings.life
    status = StatusPage(_introduce_us(settings), metrics, health, ledger, recent, has_objects=settings.http.objects)
    with ExitStack() as stack:
        if settings.http.port is not None:
            server = page_server(
                settings.http, settings.http.port, routes_of(metrics, health, status, ledger), lobby, ledger
            )
            _tell_address(stack.enter_context(server).address, announce)
        traces = open_traces(settings.trace, stack)
        exactly_once = settings.output.delivery == "exactly_once"
        store = patiently(lambda: open_store(settings.store, exclusive=exactly_once), life, stop, health)
        if store is None:
            return  # told to stop before the store was there
        stack.callback(store.close)
        classifiers = _warm_classifiers(settings, metrics, ledger)
        schemas = _counted_schemas(settings, metrics)
        pipeline = assembly.build_pipeline(settings, classifiers, schemas, store, stack)
        status.introduce([classifier.card for classifier in classifiers.values()], schemas)
        cards = cards_of(classifiers)
        make = partial(assembly.output_encoder, settings.output, settings.registry, cards)
        encode = patiently(make, life, stop, health)
        if encode is None or (reading := patiently(lambda: _set_up_topics(settings), life, stop, health)) is None:
            return  # told to stop before Kafka was there
        if reading.goes_on and store.stats().objects == 0:
            tell_store_lost("the series store is empty, although the group has read alerts before", metrics, health)
        router = assembly.open_router(settings.output, classifiers)
        sink = _open_sink(settings, encode, store, router)
        stack.callback(sink.close)
        transactions = sink if isinstance(sink, TransactionalSink) else None
        if transactions is not None and patiently(lambda: _begun(transactions), life, stop, health) is None:
            return
        index = assembly.open_index(settings, stack)
        if index is not None:
            _let_people_look(index, store, pipeline, classifiers, lobby)
        witnesses = _witnesses(recent, router, metrics, traces, index)
        queue_limit = settings.batch.queue_limit
        worker = BatchWorker(pipeline, sink, ledger, metrics, health, life, queue_limit, stats=store.stats,
                             witnesses=witnesses, transactions=transactions)  # fmt: skip
        loop = PollLoop(settings, worker, ledger, metrics, health, store, reading.ends)
        worker.start()
        health.unready("group", "the consumer group has not let us in yet")
        health.ready("starting")
        loop.run(stop)


def _witnesses(
    recent: Recent, router: Router, metrics: Metrics, traces: Witness | None, index: ObjectIndex | None
) -> list[Witness]:
    """Who hears of each batch that is done."""
    witnesses: list[Witness] = [lambda done: recent.enter(done.report)]
    if router.routes:
        witnesses.append(lambda done: _count_routes(done, router, metrics))
    if traces is not None:
        witnesses.append(traces)
    if index is not None:
        witnesses.append(lambda done: index.enter(classifications_of(done.report)))
    return witnesses


def _counted_schemas(settings: Settings, metrics: Metrics) -> Schemas:
    """Every source of schemas; failures of the registry are counted, from none."""
    for reason in FAILURES:
        metrics.count("ictc_registry_failures", 0, reason=reason)
    return assembly.open_schemas(
        settings.registry, lambda reason: metrics.count("ictc_registry_failures", reason=reason)
    )


def _warm_classifiers(settings: Settings, metrics: Metrics, ledger: Ledger) -> Mapping[str, StreamClassifier]:
    """The networks, ready to answer at once, and what the page and metrics say of them."""
    classifiers = assembly.open_classifiers(settings.model)
    for classifier in classifiers.values():
        classifier.warm_up()
        introduce_model(classifier.card, metrics)
        ledger.expect_classes([*classifier.card.classes, *PACKET_CLASSES])
    metrics.set("ictc_device_info", 1, device=settings.model.device)
    return classifiers


def _tell_address(address: str, announce: Callable[[str], None]) -> None:
    log.info("pages", extra=facts(address=address))
    announce(address)


def _count_routes(done: FinishedBatch, router: Router, metrics: Metrics) -> None:
    """Count what each route said of the classifications of a batch, once they were delivered."""
    for outcome in done.report.outcomes:
        if isinstance(outcome.result, Classification):
            for route, decision in router.decisions(outcome.result):
                metrics.count("ictc_routes", route=route.name, decision=decision)


def _open_sink(
    settings: Settings, encode: Callable[[Classification], bytes], store: SeriesStore, router: Router
) -> Sink:
    """The producer, of transactions where delivery is exactly once."""
    output, kafka = settings.output, settings.kafka
    configuration = producer_configuration(kafka, output.delivery_timeout_s)
    topics_and_form = (output.topic, encode, settings.dead_letter.topic)
    if output.delivery == "at_least_once":
        return Sink(configuration, *topics_and_form, output.delivery_timeout_s, router.topics)
    # A successor with the same name ends at once what we left open: a process that comes back must have its own again.
    alone = store.incarnation if settings.store.kind == "lmdb" else f"{socket.gethostname()}-{os.getpid()}"
    transactional = transactional_configuration(configuration, f"{kafka.group}.{kafka.instance_id or alone}")
    return TransactionalSink(
        transactional, *topics_and_form, transactional["delivery.timeout.ms"] / 1000, router.topics
    )


def _begun(sink: TransactionalSink) -> bool:
    sink.begin()
    return True


def _let_people_look(
    index: ObjectIndex,
    store: SeriesStore,
    pipeline: Pipeline,
    classifiers: Mapping[str, StreamClassifier],
    lobby: Lobby,
) -> None:
    """Open the pages of objects, and remember what was said of them before this start."""
    for key, time_mjd, best in index.newest_classes():
        pipeline.memory.remember(key, (time_mjd, HIGHEST_ALERT_ID), best)  # of that very alert, should it come again
    channels = {survey: one.card.channels for survey, one in classifiers.items()}
    classes = [*(name for one in classifiers.values() for name in one.card.classes), *PACKET_CLASSES]
    lobby.introduce(Objects(index, store, channels, classes, load_taxonomy()))


def classifications_of(report: BatchReport) -> list[Classification]:
    """The answers of a batch."""
    return [one.result for one in report.outcomes if isinstance(one.result, Classification)]


def _set_up_topics(settings: Settings) -> "_Reading":
    cluster = topics.ensure_outputs(settings)
    set_beginning(settings, cluster)
    return _Reading(ends(settings, cluster), has_read(settings.kafka, cluster))


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was found out of the topics before anybody reads."""

    ends: Mapping[Partition, int] | None  # offsets at which reading ends
    goes_on: bool  # the group has read before


def introduce_model(card: ModelCard, metrics: Metrics) -> None:
    log.info("model", extra=facts(classifier=card.name, version=card.version, survey=card.survey, trained=card.trained))
    metrics.set(
        "ictc_model_info",
        1,
        survey=card.survey,
        classifier=card.name,
        version=card.version,
        taxonomy=card.taxonomy_version,
        trained=str(card.trained).lower(),
    )
    scores = card.provenance.get("validation_scores")  # for people: no part of what the card's version vouches for
    accuracy = scores.get("accuracy") if isinstance(scores, Mapping) else None
    if isinstance(accuracy, int | float):
        metrics.set("ictc_model_validation_accuracy_ratio", accuracy, survey=card.survey)


def _introduce_us(settings: Settings) -> list[tuple[str, str]]:
    kafka = settings.kafka
    lines = [("reads", ", ".join(kafka.topics)), ("as group", kafka.group), ("writes", settings.output.topic)]
    return lines + ([("instance", kafka.instance_id)] if kafka.instance_id is not None else [])
