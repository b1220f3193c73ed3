"""Settings in, the stream core out: schemas, networks, store and pipeline, put together. Knows no Kafka.

Nothing silently falls back: a device, weights or a store that is asked for and absent is a ConfigurationError.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.common._httpx_compat import httpx  # whichever of the two that the client uses
from confluent_kafka.schema_registry.error import SchemaRegistryError

from broker_filter.alerts.decode import connect
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.avro.container import MessageLimits
from broker_filter.classify.classifier import Classifier, cards_of, load_classifiers, use_threads
from broker_filter.classify.pipeline import Pipeline
from broker_filter.config import ModelSettings, OutputSettings, RegistrySettings, Settings, StoreSettings
from broker_filter.errors import ConfigurationError, RetryableError
from broker_filter.output import formats as classification
from broker_filter.series.lmdb_store import LmdbSeriesStore
from broker_filter.series.redis_store import RedisSeriesStore
from broker_filter.series.store import SeriesStore


def registry_settings(settings: RegistrySettings) -> dict[str, Any]:
    """Keys of confluent-kafka's registry client, without the address."""
    keys: dict[str, Any] = {"timeout": settings.timeout_s}
    if settings.username is not None:
        password = "" if settings.password is None else settings.password.get_secret_value()
        keys["basic.auth.user.info"] = f"{settings.username}:{password}"
    return keys


def open_schemas(settings: RegistrySettings) -> Schemas:
    """Every source of schemas that the settings name."""
    return Schemas(
        registry_url=settings.url,
        registry_settings=registry_settings(settings),
        folder=settings.folder,
        bare_schema=settings.datum_schema,
    )


def ask_registry(settings: RegistrySettings) -> int:
    """How many subjects the schema registry has.

    Raises
    ------
    ConfigurationError
        It refuses us, or is no registry.
    RetryableError
        It does not answer.
    """
    client = SchemaRegistryClient({"url": settings.url, "max.retries": 0, **registry_settings(settings)})
    try:
        return len(client.get_subjects())
    except SchemaRegistryError as error:
        raise ConfigurationError(f"registry.url {settings.url}: {error}") from error
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise RetryableError(f"registry.url {settings.url} does not answer: {error}") from error


def open_classifiers(settings: ModelSettings) -> dict[str, Classifier]:
    """One classifier for each survey that will be read.

    Raises
    ------
    ConfigurationError
        When weights are missing, broken or untrained (and that is not allowed), or the device is absent.
    """
    if settings.threads is not None:  # the deterministic mode takes one, whatever is asked
        use_threads(settings.threads)
    return load_classifiers(settings.weights, settings.device, settings.deterministic, settings.allow_untrained)


def open_store(settings: StoreSettings) -> SeriesStore:
    """The store of series.

    Raises
    ------
    ConfigurationError
        When it cannot be opened or belongs to another process.
    """
    if settings.kind == "redis" and settings.url is not None:
        return RedisSeriesStore(settings.url.get_secret_value(), settings.object_limit, settings.byte_limit)
    return LmdbSeriesStore(settings.path, settings.object_limit, settings.byte_limit, settings.sync)


def build_pipeline(
    settings: Settings, classifiers: Mapping[str, Classifier], schemas: Schemas, store: SeriesStore, stack: ExitStack
) -> Pipeline:
    """The stream core; what it opens, ``stack`` closes."""
    limits = MessageLimits(settings.message.record_limit, settings.message.inflated_byte_limit)
    decoder = connect(schemas, cards_of(classifiers), settings.batch.decode_threads, limits)
    stack.callback(decoder.close)
    return Pipeline(decoder, classifiers, store, frame_limit=settings.store.frame_limit)


def output_encoder(settings: OutputSettings, registry: RegistrySettings) -> classification.Encode:
    """The bytes of a classification in the form that is asked for.

    Raises
    ------
    ConfigurationError
        When the Confluent form has neither a schema id nor a registry.
    RetryableError
        When the registry does not answer.
    """
    match settings.format:
        case "container":
            return classification.container_encoder()
        case "json":
            return classification.json_line
        case "elasticc" | "elasticc-container":
            return classification.desc_encoder(settings.broker_name, container=settings.format.endswith("container"))
        case _:
            return classification.confluent_encoder(settings.schema_id or _register(settings, registry))


def _register(settings: OutputSettings, registry: RegistrySettings) -> int:
    if registry.url is None:
        raise ConfigurationError("output.format confluent needs output.schema_id, or registry.url to register at")
    client = SchemaRegistryClient({"url": registry.url, "max.retries": 0, **registry_settings(registry)})
    schema = Schema(classification.schema_text(classification.LEAN_SCHEMA), "AVRO")
    try:
        return client.register_schema(f"{settings.topic}-value", schema)
    except SchemaRegistryError as error:
        raise ConfigurationError(
            f"the schema registry refuses our schema: {error}; register it yourself and give output.schema_id"
        ) from error
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise RetryableError(f"the schema registry does not answer: {error}") from error
