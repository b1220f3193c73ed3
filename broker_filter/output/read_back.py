"""Published classifications, read back: messages of our topics and lines of our files. The inverse of ``formats``."""

import io
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import fastavro
import orjson

from broker_filter.avro.envelope import CONTAINER_MAGIC
from broker_filter.errors import NotClassified
from broker_filter.output.formats import CONFLUENT_MAGIC, LEAN_SCHEMA, LEAN_SCHEMA_1, parsed_schema
from broker_filter.records import Classification, Detection, MovingObject

FRAME_BYTES = 5  # magic byte and schema id


class UnreadableClassificationError(ValueError):
    """Bytes that are no classification in any form but DESC's; the message says how they begin."""


def read_message(value: bytes) -> Classification:
    """The classification in a message of our output topic: JSON, an Avro container, or Confluent's frame.

    A frame's schema id is not looked up: its datum is of schema 2, or of schema 1, or it is refused.

    Raises
    ------
    UnreadableClassificationError
        When it is neither.
    """
    try:
        return from_json(_fields(value))
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, IndexError) as error:
        raise UnreadableClassificationError(
            f"a message of {len(value)} bytes that begins {value[:12]!r} is no classification: "
            f"{type(error).__name__}: {error}; read are JSON lines and the lean Avro, framed or in a container"
        ) from error


def _fields(value: bytes) -> Any:
    if value.startswith(CONTAINER_MAGIC):
        (fields,) = fastavro.reader(io.BytesIO(value), parsed_schema(LEAN_SCHEMA))
        return fields
    return _datum(value[FRAME_BYTES:]) if value.startswith(CONFLUENT_MAGIC) else orjson.loads(value)


def _datum(datum: bytes) -> Any:
    for name in (LEAN_SCHEMA, LEAN_SCHEMA_1):
        stream = io.BytesIO(datum)
        try:
            fields = fastavro.schemaless_reader(stream, parsed_schema(name), parsed_schema(LEAN_SCHEMA))
        except (ValueError, EOFError, IndexError):
            continue
        if stream.tell() == len(datum):
            return fields
    raise ValueError("its datum is neither of schema 2 nor of schema 1")


def from_json(fields: Mapping[str, Any]) -> Classification:
    """The classification whose ``formats.as_json`` these fields are; those of schema 2 may be absent.

    Raises
    ------
    KeyError, TypeError, ValueError
        When a field of schema 1 is missing, or one is of another kind.
    """
    reason, prediction_set = fields["reason"], fields.get("predictionSet")
    broad = fields.get("broadProbabilities")
    return Classification(
        survey=fields["survey"],
        object_id=fields["objectId"],
        alert_id=int(fields["alertId"]),
        time_mjd=float(fields["mjd"]),
        band=fields["band"],
        observation_count=int(fields["nObservations"]),
        probabilities=dict(fields["probabilities"]),
        classifier=fields["classifier"],
        classifier_version=fields["classifierVersion"],
        taxonomy_version=fields["taxonomyVersion"],
        unknown_score=fields["unknownScore"],
        reason=None if reason is None else NotClassified(reason),
        history_count=int(fields.get("nHistory", 0)),
        known_count=int(fields["nKnown"]),
        revision=bool(fields["revision"]),
        detection=_detection(fields),
        night=fields.get("night"),
        broad_probabilities=None if broad is None else dict(broad),
        prediction_set=None if prediction_set is None else tuple(prediction_set),
        coverage=fields.get("coverage"),
        evidence=fields.get("evidence"),
        explanation=fields.get("explanation"),
        moving_object=_moving_object(fields),
        previous_class=fields.get("previousClass"),
        days_since_first=fields.get("daysSinceFirst"),
        days_since_brightest=fields.get("daysSinceBrightest"),
        alert_time_ms=_unix_ms(fields["alertTimestamp"]),
        ingest_time_ms=_unix_ms(fields["ingestTimestamp"]) or 0,
        publication_time_ms=_unix_ms(fields["publicationTimestamp"]) or 0,
    )


def _detection(fields: Mapping[str, Any]) -> Detection | None:
    known = [fields.get(name) for name in ("ra", "dec", "flux", "fluxError", "realBogus")]
    return None if all(value is None for value in known) else Detection(*known)


def _moving_object(fields: Mapping[str, Any]) -> MovingObject | None:
    known = (fields.get("ssObject"), fields.get("ssDistance"), fields.get("ssMagnitude"))
    return None if all(value is None for value in known) else MovingObject(*known)


def _unix_ms(time: datetime | int | None) -> int | None:
    return round(1000 * time.timestamp()) if isinstance(time, datetime) else time
