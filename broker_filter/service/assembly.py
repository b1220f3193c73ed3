"""The stream's core as the settings ask for it: schemas, networks, store and pipeline. Knows no Kafka.

Nothing silently falls back: a device, weights or a store that is asked for and absent is a ConfigurationError.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack

from broker_filter.alerts.decode import connect
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.avro.container import MessageLimits
from broker_filter.classify.classifier import StreamClassifier, cards_of, load_classifiers, use_threads
from broker_filter.classify.pipeline import Pipeline
from broker_filter.config import ModelSettings, OutputSettings, RegistrySettings, Settings
from broker_filter.errors import ConfigurationError
from broker_filter.kafka.schema_registry import Registry
from broker_filter.logs import facts, logger
from broker_filter.output import formats as classification
from broker_filter.output.routes import Router
from broker_filter.records import PACKET_CLASSES
from broker_filter.rules import Route
from broker_filter.series.store import SeriesStore
from broker_filter.service.cores import usable_cores
from broker_filter.web.index import INDEX_FILE, ObjectIndex
from model.serving.card import ModelCard

MOST_DECODE_THREADS = 2  # more only wait for the interpreter's lock
log = logger("service")


def open_schemas(settings: RegistrySettings, on_failure: Callable[[str], None] = lambda _: None) -> Schemas:
    """Every source of schemas that the settings name; ``on_failure`` as in kafka.schema_registry.Registry."""
    return Schemas(
        registry=None if settings.url is None else Registry(settings, on_failure),
        folder=settings.folder,
        bare_schema=settings.datum_schema,
    )


def open_classifiers(settings: ModelSettings) -> dict[str, StreamClassifier]:
    """One classifier for each survey that will be read.

    Raises
    ------
    ConfigurationError
        When weights are missing, broken or untrained (and that is not allowed), or the device is absent.
    """
    if settings.threads is not None:  # the deterministic mode takes one, whatever is asked
        use_threads(settings.threads)
    return load_classifiers(
        settings.weights, settings.device, settings.deterministic, settings.allow_untrained, settings.engine
    )


def open_router(settings: OutputSettings, classifiers: Mapping[str, StreamClassifier]) -> Router:
    """The routes of the settings.

    Raises
    ------
    ConfigurationError
        When a rule reads the probability of a class that no network in use has, or a route goes to the output topic.
    """
    classes = {name for classifier in classifiers.values() for name in classifier.card.classes} | set(PACKET_CLASSES)
    routes = [Route(route.name, route.topic, route.rule) for route in settings.routes]
    for route in routes:
        if route.topic == settings.topic:
            raise ConfigurationError(f"route {route.name} goes to the output topic {route.topic}: name another")
        if unknown := route.classes - classes:
            raise ConfigurationError(
                f"the rule of route {route.name} reads p_{', p_'.join(sorted(unknown))}: the networks in use know "
                f"{', '.join(sorted(classes))}"
            )
    return Router(routes)


def build_pipeline(
    settings: Settings,
    classifiers: Mapping[str, StreamClassifier],
    schemas: Schemas,
    store: SeriesStore,
    stack: ExitStack,
) -> Pipeline:
    """The stream core; what it opens, ``stack`` closes."""
    limits = MessageLimits(settings.message.record_limit, settings.message.inflated_byte_limit)
    threads = settings.batch.decode_threads or min(settings.model.threads or usable_cores(), MOST_DECODE_THREADS)
    decoder = connect(schemas, cards_of(classifiers), threads, limits)
    stack.callback(decoder.close)
    return Pipeline(decoder, classifiers, store, frame_limit=settings.store.frame_limit)


def open_index(settings: Settings, stack: ExitStack) -> ObjectIndex | None:
    """The index of objects, which ``stack`` closes; None where pages of objects are not wanted, or there is no place.

    Raises
    ------
    ConfigurationError
        When the file that ``http.index`` names cannot be made.
    """
    http = settings.http
    if http.port is None or not http.objects:
        return None
    path = http.index or settings.store.path / INDEX_FILE
    try:
        index = ObjectIndex(path, http.index_object_limit, http.index_byte_limit)
    except ConfigurationError as error:
        if http.index is not None:
            raise
        log.warning("no pages of objects: give http.index a writable place", extra=facts(error=str(error)))
        return None
    stack.callback(index.close)
    return index


def output_encoder(
    settings: OutputSettings, registry: RegistrySettings, cards: Mapping[str, ModelCard]
) -> classification.Encode:
    """The bytes of a classification in the form that is asked for.

    Raises
    ------
    ConfigurationError
        When the Confluent form has neither a schema id nor a registry, or DESC's has no code for a class.
    RetryableError
        When the registry does not answer.
    """
    match settings.format:
        case "container":
            return classification.container_encoder()
        case "json":
            return classification.json_line
        case "elasticc" | "elasticc-container":
            taxonomies = {survey: card.taxonomy for survey, card in cards.items()}
            in_container = settings.format.endswith("container")
            return classification.desc_encoder(settings.broker_name, in_container, taxonomies)
        case _:
            return classification.confluent_encoder(settings.schema_id or _register(settings, registry))


def _register(settings: OutputSettings, registry: RegistrySettings) -> int:
    if registry.url is None:
        raise ConfigurationError("output.format confluent needs output.schema_id, or registry.url to register at")
    return Registry(registry).register(
        f"{settings.topic}-value", classification.schema_text(classification.LEAN_SCHEMA)
    )
