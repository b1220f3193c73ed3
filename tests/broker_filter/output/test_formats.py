"""The published forms of a classification, read back by the libraries that their readers use."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import fastavro
import orjson
import pytest

from broker_filter.errors import FatalError, NotClassified
from broker_filter.output import formats as forms
from broker_filter.records import Classification

CLASSIFIED = Classification(
    survey="lsst",
    object_id="170028510906023964",
    alert_id=170028510906023964,
    time_mjd=61_000.25,
    band="r",
    observation_count=3,
    probabilities={"AGN": 0.125, "SNIa": 0.5, "Variable": 0.25, "SNOther": 0.125},
    classifier="convention",
    classifier_version="abc",
    taxonomy_version="ictc-1",
    unknown_score=-0.5,
    alert_time_ms=1_700_000_000_000,
    ingest_time_ms=1_700_000_001_000,
    publication_time_ms=1_700_000_002_000,
)
NOT_CLASSIFIED = replace(
    CLASSIFIED, probabilities={}, observation_count=0, reason=NotClassified.NO_STAMPS, unknown_score=None
)


def test_json_line_has_the_promised_fields() -> None:
    """A JSON line keeps 64-bit ids whole and names every field."""
    line = forms.json_line(CLASSIFIED)
    assert line.endswith(b"\n")
    fields = orjson.loads(line)
    assert fields["alertId"] == 170028510906023964
    assert fields["status"] == "classified"
    assert fields["probabilities"] == CLASSIFIED.probabilities
    assert {
        "objectId",
        "survey",
        "mjd",
        "band",
        "nObservations",
        "nKnown",
        "nHistory",
        "reason",
        "classifier",
        "classifierVersion",
    } <= set(fields)
    assert orjson.loads(forms.json_line(NOT_CLASSIFIED))["reason"] == "no_stamps"


@pytest.mark.parametrize("said", [CLASSIFIED, NOT_CLASSIFIED, replace(CLASSIFIED, revision=True, alert_time_ms=None)])
def test_container_says_what_the_json_line_says(said: Classification) -> None:
    """The Avro form carries the same fields, times as timestamps."""
    (record,) = fastavro.reader(io.BytesIO(forms.container_encoder()(said)))
    expected = forms.as_json(said)
    for name in ("alertTimestamp", "ingestTimestamp", "publicationTimestamp"):
        value = expected.pop(name)
        read = record.pop(name)
        assert read == (None if value is None else datetime.fromtimestamp(value / 1000, UTC))
    assert record == expected


def test_confluent_frame_carries_a_big_endian_id() -> None:
    """The framed form is magic byte, id, datum of the shipped schema."""
    framed = forms.confluent_encoder(258)(CLASSIFIED)
    assert framed[:5] == b"\0\0\0\1\2"
    schema = forms.parsed_schema(forms.LEAN_SCHEMA)
    assert fastavro.schemaless_reader(io.BytesIO(framed[5:]), schema)["objectId"] == CLASSIFIED.object_id


def test_desc_form_uses_the_taxonomys_codes() -> None:
    """DESC's form names classes by code and the classifier with its version."""
    (record,) = fastavro.reader(io.BytesIO(forms.desc_encoder("ICTC", container=True)(CLASSIFIED)))
    assert list(record) == [
        "alertId",
        "diaSourceId",
        "elasticcPublishTimestamp",
        "brokerIngestTimestamp",
        "brokerName",
        "brokerVersion",
        "classifierName",
        "classifierParams",
        "classifications",
    ]
    codes = {entry["classId"]: entry["probability"] for entry in record["classifications"]}
    assert codes == {2332: 0.125, 2222: 0.5, 2310: 0.25, 2221: 0.125}
    assert record["classifierName"] == "convention abc"
    schema = fastavro.reader(io.BytesIO(forms.desc_encoder("ICTC", container=True)(CLASSIFIED))).writer_schema
    assert schema["name"] == "elasticc.v0_9_1.brokerClassfication"


def test_desc_form_reports_not_classified_as_300() -> None:
    """An alert without a classification is reported, not dropped: 300 with probability 1."""
    datum = forms.desc_encoder("ICTC")(NOT_CLASSIFIED)
    record = fastavro.schemaless_reader(io.BytesIO(datum), forms.parsed_schema(forms.DESC_SCHEMA))
    assert record["classifications"] == [{"classId": 300, "probability": 1.0}]
    assert "no_stamps" in record["classifierParams"]


def test_class_without_a_code_stops_the_service() -> None:
    """A network whose class has no code cannot speak DESC's form, and the message says where to add it."""
    foreign = replace(CLASSIFIED, probabilities={"Comet": 1.0})
    with pytest.raises(FatalError, match=r"Comet.*taxonomy\.json"):
        forms.desc_encoder("ICTC")(foreign)


def test_duplicates_are_equal_bytes_with_one_key() -> None:
    """Every form of a duplicate is byte for byte its twin's, under one key."""
    twin = replace(CLASSIFIED)
    for encode in (forms.json_line, forms.container_encoder(), forms.confluent_encoder(1), forms.desc_encoder("I")):
        assert encode(CLASSIFIED) == encode(twin)
    assert forms.key(CLASSIFIED) == forms.key(twin) == b"170028510906023964"
