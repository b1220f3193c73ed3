"""DESC's FASTDB: alerts with our classification as ``BrokerMessage`` 10.0.0, which is what brokers send it.

A BrokerMessage is the survey's alert, field by field, with the broker's and the classifier's names and a list of
(class code, probability). Its schema is put together here from the survey's own schema package; class codes are those
of ELAsTiCC, as in the older form (``output.format: elasticc``). Messages are bare datums, as FASTDB reads them by
default, or object containers.
"""

import io
import struct
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import fastavro

from ictc import Classification, ConfigurationError, Taxonomy, load_taxonomy

VERSION = (10, 0)  # of LSST's alerts, on which BrokerMessage 10.0.0 stands
NAMESPACE = "fastdb.v10_0_0"
OF_ALERT = (
    "diaSourceId",
    "observation_reason",
    "target_name",
    "diaSource",
    "prvDiaSources",
    "prvDiaForcedSources",
    "diaObject",
    "ssSource",
    "mpc_orbits",
    "cutoutDifference",
    "cutoutScience",
    "cutoutTemplate",
)
FIRST_LEVEL = " first level"  # behind the name of the classifier, in messages of that level
FRAME = struct.Struct(">bI")  # magic byte and schema id before an alert's datum


@cache
def alert_schema() -> Any:
    """LSST's alert schema 10.0, from the survey's package."""
    major, minor = VERSION
    folder = Path(str(resources.files("lsst.alert.packet"))) / "schema" / str(major) / str(minor)
    path = folder / f"lsst.v{major}_{minor}.alert.avsc"
    if not path.is_file():
        raise ConfigurationError(f"lsst-alert-packet has no alert schema {major}.{minor}: install a newer one")
    return fastavro.schema.load_schema(str(path))


@cache
def broker_message_schema() -> Any:
    """The schema of BrokerMessage 10.0.0, with what it takes from LSST's written out."""
    of_alert = {field["name"]: field for field in alert_schema()["fields"]}
    classification = {
        "type": "record",
        "name": "classificationDict",
        "fields": [
            {"name": "classId", "type": "int", "doc": "ELAsTiCC code of the class"},
            {"name": "probability", "type": "float", "doc": "0 to 1"},
        ],
    }
    ours = [
        {"name": "brokerName", "type": "string", "doc": "who sends this"},
        {"name": "classifierName", "type": "string", "doc": "who classified"},
        {"name": "classifierVersion", "type": "string", "doc": "of the classifier"},
        {"name": "classifications", "type": {"type": "array", "items": classification}},
    ]
    fields = [*(of_alert[name] for name in OF_ALERT), *ours]
    return fastavro.parse_schema(
        {"type": "record", "name": "BrokerMessage", "namespace": NAMESPACE, "doc": "for FASTDB", "fields": fields}
    )


def broker_message(
    packet: bytes,
    classification: Classification,
    broker_name: str,
    taxonomy: Taxonomy | None = None,
    first_level: bool = False,
) -> dict[str, Any]:
    """The fields of a BrokerMessage.

    Parameters
    ----------
    packet
        The alert of LSST 10.0 that was classified, in Confluent's frame or bare.
    taxonomy
        Whose codes classes have; None: the package's. That of weights is ``ictc.load_card(weights).taxonomy``.
    first_level
        Send the probabilities of the first level (supernova of any type ...) instead, as a classifier of its own,
        ``NAME first level``: what one message says sums to 1.

    Raises
    ------
    ConfigurationError
        When a class has no code.
    ValueError
        When the packet is of another schema, or of another alert than the classification.
    """
    alert = _read(packet)
    if alert["diaSourceId"] != classification.alert_id:
        raise ValueError(f"packet of alert {alert['diaSourceId']} with the class of alert {classification.alert_id}")
    used = taxonomy or load_taxonomy()
    codes = used.codes
    probabilities = (classification.broad_probabilities or {}) if first_level else classification.probabilities
    if unknown := [name for name in probabilities if name not in codes]:
        raise ConfigurationError(f"classes without a code in taxonomy {used.version}: {', '.join(unknown)}")
    answers = [{"classId": codes[name], "probability": p} for name, p in probabilities.items()]
    return {
        **{name: alert[name] for name in OF_ALERT},
        "brokerName": broker_name,
        "classifierName": classification.classifier + (FIRST_LEVEL if first_level else ""),
        "classifierVersion": classification.classifier_version,
        "classifications": answers or [{"classId": used.not_classified_code, "probability": 1.0}],
    }


def write_datum(message: dict[str, Any]) -> bytes:
    """A BrokerMessage as a bare datum, which FASTDB reads with its own copy of the schema."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, broker_message_schema(), message)
    return out.getvalue()


def write_container(messages: Iterable[dict[str, Any]]) -> bytes:
    """BrokerMessages as one object container, which holds its schema."""
    out = io.BytesIO()
    fastavro.writer(out, broker_message_schema(), messages, codec="deflate")
    return out.getvalue()


def _read(packet: bytes) -> dict[str, Any]:
    datum = packet
    if packet[:1] == b"\0" and len(packet) > FRAME.size:
        _, schema_id = FRAME.unpack(packet[: FRAME.size])
        major, minor = VERSION
        if schema_id != 100 * major + minor:
            raise ValueError(f"an alert of schema id {schema_id}: BrokerMessage 10.0.0 holds alerts of {major}.{minor}")
        datum = packet[FRAME.size :]
    try:
        record: Any = fastavro.schemaless_reader(io.BytesIO(datum), alert_schema(), None)
    except (ValueError, EOFError, IndexError, KeyError) as error:
        raise ValueError(f"{len(packet)} bytes are no LSST alert of schema 10.0: {error}") from error
    if not isinstance(record, dict):
        raise TypeError("an LSST alert is a record")
    return record
