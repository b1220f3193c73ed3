"""Published forms of a classification: JSON line, lean Avro, DESC's Avro. Knows neither files nor Kafka.

Every form is a pure function of the record, byte for byte, so that duplicates of a classification are equal.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from importlib import metadata, resources
from types import MappingProxyType
from typing import Any

import fastavro
import orjson

from broker_filter.alerts.units import magnitude_of_flux
from broker_filter.errors import ConfigurationError, FatalError
from broker_filter.records import Classification, Detection, MovingObject
from model.taxonomy import Taxonomy, load_taxonomy

LEAN_SCHEMA = "ictc.classification.v2"
LEAN_SCHEMA_1 = "ictc.classification.v1"  # of releases before 0.2, whose messages stay on topics
DESC_SCHEMA = "elasticc.v0_9_1.brokerClassification"
CONFLUENT_MAGIC = b"\x00"
SYNC_MARKER_BYTES = 16

Encode = Callable[[Classification], bytes]


def key(classification: Classification) -> bytes:
    """The message key: one object's classifications stay in order in one partition."""
    return classification.object_id.encode()


@cache
def schema_text(name: str) -> str:
    """The text of a schema that the package ships, without its extension."""
    return resources.files("broker_filter").joinpath("schemas", f"{name}.avsc").read_text("utf-8")


@cache
def parsed_schema(name: str) -> Any:
    """A shipped schema, ready for fastavro."""
    return fastavro.parse_schema(json.loads(schema_text(name)))


def sync_marker(name: str) -> bytes:
    """The same marker in every container of one schema, so that equal records make equal bytes."""
    return hashlib.blake2b(schema_text(name).encode(), digest_size=SYNC_MARKER_BYTES).digest()


def as_json(classification: Classification) -> dict[str, Any]:
    """The fields of a JSON line and of the lean schema, times in Unix milliseconds."""
    c = classification
    return {
        "objectId": c.object_id,
        "alertId": c.alert_id,
        "survey": c.survey,
        "mjd": c.time_mjd,
        "band": c.band,
        "nObservations": c.observation_count,
        "nKnown": c.known_count,
        "nHistory": c.history_count,
        "status": c.status,
        "reason": c.reason,
        "probabilities": dict(c.probabilities),
        "unknownScore": c.unknown_score,
        "classifier": c.classifier,
        "classifierVersion": c.classifier_version,
        "taxonomyVersion": c.taxonomy_version,
        "revision": c.revision,
        "alertTimestamp": c.alert_time_ms,
        "ingestTimestamp": c.ingest_time_ms,
        "publicationTimestamp": c.publication_time_ms,
        **_detection_fields(c.detection),
        "night": c.night,
        "daysSinceFirst": c.days_since_first,
        "daysSinceBrightest": c.days_since_brightest,
        "broadProbabilities": None if c.broad_probabilities is None else dict(c.broad_probabilities),
        "previousClass": c.previous_class,
        "predictionSet": None if c.prediction_set is None else list(c.prediction_set),
        "coverage": c.coverage,
        "evidence": c.evidence,
        "explanation": c.explanation,
        **_moving_fields(c.moving_object),
    }


def _detection_fields(detection: Detection | None) -> dict[str, float | None]:
    d = detection or Detection(None, None, None, None, None)
    magnitude, magnitude_error = magnitude_of_flux(d.flux_njy, d.flux_error_njy)
    return {
        "ra": d.ra_deg,
        "dec": d.dec_deg,
        "flux": d.flux_njy,
        "fluxError": d.flux_error_njy,
        "magnitude": magnitude,
        "magnitudeError": magnitude_error,
        "snr": abs(d.flux_njy) / d.flux_error_njy if d.flux_njy is not None and d.flux_error_njy else None,
        "realBogus": d.real_bogus,
    }


def _moving_fields(moving: MovingObject | None) -> dict[str, float | str | None]:
    m = moving or MovingObject(None, None, None)
    return {"ssObject": m.designation, "ssDistance": m.distance_arcsec, "ssMagnitude": m.magnitude}


def json_line(classification: Classification) -> bytes:
    """One JSON object and a line feed."""
    return orjson.dumps(as_json(classification), option=orjson.OPT_APPEND_NEWLINE)


def as_desc(classification: Classification, broker_name: str, taxonomy: Taxonomy) -> dict[str, Any]:
    """The fields of DESC's form: an alert without a classification is NotClassified with probability 1.

    Parameters
    ----------
    taxonomy
        Whose codes classes have.

    Raises
    ------
    FatalError
        When a class has no code.
    """
    c = classification
    classes = _coded(c.probabilities, taxonomy)
    return {
        "alertId": c.alert_id,
        "diaSourceId": c.alert_id,
        "elasticcPublishTimestamp": c.alert_time_ms if c.alert_time_ms is not None else c.ingest_time_ms,
        "brokerIngestTimestamp": c.ingest_time_ms,
        "brokerName": broker_name,
        "brokerVersion": _own_version(),
        "classifierName": f"{c.classifier} {c.classifier_version}",
        "classifierParams": orjson.dumps(_desc_params(c, taxonomy)).decode(),
        "classifications": classes or [{"classId": taxonomy.not_classified_code, "probability": 1.0}],
    }


def _coded(probabilities: Mapping[str, float], taxonomy: Taxonomy) -> list[dict[str, Any]]:
    try:
        return [{"classId": taxonomy.codes[name], "probability": p} for name, p in probabilities.items()]
    except KeyError as error:
        raise FatalError(
            f"class {error} has no code in taxonomy {taxonomy.version}: draw the training set with ictc-simulate "
            "--taxonomy FILE, which gives it one, or choose another format"
        ) from error


def _desc_params(c: Classification, taxonomy: Taxonomy) -> dict[str, Any]:
    """What DESC's form has no field for, where it is known; classes by code."""
    known = {
        "unknownScore": c.unknown_score,
        "broadClassifications": _coded(c.broad_probabilities or {}, taxonomy) or None,
        "predictionSet": None if c.prediction_set is None else [taxonomy.codes[name] for name in c.prediction_set],
        "coverage": c.coverage,
        "evidence": c.evidence,
        "previousClass": c.previous_class,
        **_moving_fields(c.moving_object),
    }
    always = {"taxonomyVersion": c.taxonomy_version, "nObservations": c.observation_count, "reason": c.reason}
    return always | {name: value for name, value in known.items() if value is not None}


def refuse_without_code(taxonomies: Iterable[Taxonomy]) -> None:
    """Check that DESC's form can name every class.

    Raises
    ------
    ConfigurationError
        When a class has no code.
    """
    missing = [name for taxonomy in taxonomies for name in taxonomy.classes if name not in taxonomy.codes]
    if missing:
        raise ConfigurationError(
            f"DESC's form needs a code for each class; {', '.join(missing)} have none: train on a data set that "
            "ictc-simulate drew with --taxonomy FILE, or choose another format of output"
        )


def confluent_encoder(schema_id: int) -> Encode:
    """Lean Avro behind the magic byte and the big-endian id that a registry gave to ``schema_text(LEAN_SCHEMA)``."""
    prefix = CONFLUENT_MAGIC + schema_id.to_bytes(4, "big")
    return lambda c: prefix + _datum(LEAN_SCHEMA, as_json(c))


def container_encoder() -> Encode:
    """Lean Avro as an object container: 2.1 kB more, and readable without a registry."""
    return lambda c: _container(LEAN_SCHEMA, as_json(c))


def desc_encoder(
    broker_name: str, container: bool = False, taxonomies: Mapping[str, Taxonomy] = MappingProxyType({})
) -> Encode:
    """DESC's form, as a bare datum (its readers have the schema) or as an object container.

    Parameters
    ----------
    taxonomies
        By survey: of the networks' cards. Other surveys' classes have the package's codes.

    Raises
    ------
    ConfigurationError
        When a network's class has no code.
    """
    refuse_without_code(taxonomies.values())
    write = partial(_container if container else _datum, DESC_SCHEMA)
    shipped = load_taxonomy()
    return lambda c: write(as_desc(c, broker_name, taxonomies.get(c.survey, shipped)))


@cache
def _own_version() -> str:
    return metadata.version("ictc")


def _datum(schema: str, record: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parsed_schema(schema), record)
    return out.getvalue()


def _container(schema: str, record: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, parsed_schema(schema), [record], sync_marker=sync_marker(schema))
    return out.getvalue()
