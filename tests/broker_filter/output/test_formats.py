"""The published forms of a classification, read back by the libraries that their readers use."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import fastavro
import orjson
import pytest

from broker_filter.errors import ConfigurationError, FatalError, NotClassified
from broker_filter.output import formats as forms
from broker_filter.output.read_back import UnreadableClassificationError, from_json, read_message
from broker_filter.records import Classification, Detection, MovingObject
from model.taxonomy import Taxonomy

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
    known_count=4,
    detection=Detection(12.5, -3.25, -1000.0, 50.0, 0.75),
    night=61_000,
    broad_probabilities={"AGN": 0.125, "SN": 0.625, "Variable": 0.25},
    prediction_set=("SNIa", "SNOther"),
    coverage=0.75,
    evidence="stamps",
    previous_class="AGN",
    days_since_first=12.5,
    days_since_brightest=0.0,
    alert_time_ms=1_700_000_000_000,
    ingest_time_ms=1_700_000_001_000,
    publication_time_ms=1_700_000_002_000,
)
NOT_CLASSIFIED = replace(
    CLASSIFIED,
    probabilities={},
    observation_count=0,
    reason=NotClassified.NO_STAMPS,
    unknown_score=None,
    detection=None,
    night=None,
    broad_probabilities=None,
    prediction_set=None,
    coverage=None,
    evidence=None,
    previous_class=None,
    days_since_first=None,
    days_since_brightest=None,
)
ASTEROID = replace(
    CLASSIFIED,
    probabilities={"Asteroid": 1.0},
    evidence="packet",
    explanation="0.4 arcsec from a known object",
    moving_object=MovingObject("2026 AB1", 0.5, 19.25),
)
ALL = (CLASSIFIED, NOT_CLASSIFIED, ASTEROID, replace(CLASSIFIED, revision=True, alert_time_ms=None))


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


@pytest.mark.parametrize("classification", ALL)
def test_container_says_what_the_json_line_says(classification: Classification) -> None:
    """The Avro form carries the same fields, times as timestamps."""
    (record,) = fastavro.reader(io.BytesIO(forms.container_encoder()(classification)))
    expected = forms.as_json(classification)
    for name in ("alertTimestamp", "ingestTimestamp", "publicationTimestamp"):
        value = expected.pop(name)
        read = record.pop(name)
        assert read == (None if value is None else datetime.fromtimestamp(value / 1000, UTC))
    assert record == expected


def test_magnitude_and_signal_follow_from_the_flux() -> None:
    """The magnitude is AB and of the flux's size: 1000 nJy are 23.9, with an error of 1.0857 times the relative one."""
    fields = forms.as_json(CLASSIFIED)
    assert (fields["flux"], fields["fluxError"], fields["snr"]) == (-1000.0, 50.0, 20.0)
    assert fields["magnitude"] == pytest.approx(23.9)
    assert fields["magnitudeError"] == pytest.approx(1.0857 * 0.05, rel=1e-4)
    assert forms.as_json(NOT_CLASSIFIED)["magnitude"] is None


@pytest.mark.parametrize("unknown", [Detection(1.0, 2.0, None, None, None), Detection(1.0, 2.0, 0.0, 0.0, None)])
def test_a_flux_that_tells_nothing_has_no_magnitude(unknown: Detection) -> None:
    """Of an unknown flux, or one of nothing, magnitude and signal-to-noise are null."""
    fields = forms.as_json(replace(CLASSIFIED, detection=unknown))
    assert fields["magnitude"] is fields["magnitudeError"] is fields["snr"] is None


@pytest.mark.parametrize("classification", ALL)
@pytest.mark.parametrize("encode", [forms.json_line, forms.container_encoder(), forms.confluent_encoder(77)])
def test_every_form_is_read_back_whole(encode: forms.Encode, classification: Classification) -> None:
    """What was published can be read back as the record that it came from, in JSON, container and frame."""
    assert read_message(encode(classification)) == classification


@pytest.mark.parametrize("value", [b"", b"\0", b"{", b"[]", b"{}", b"\0\0\0\0\1datum", b"Obj\x01rubbish"])
def test_what_is_no_classification_is_refused_with_its_beginning(value: bytes) -> None:
    """Bytes in none of the forms raise an error that shows how they begin."""
    with pytest.raises(UnreadableClassificationError, match=r"begins b.*is no classification"):
        read_message(value)


def in_schema(name: str, classification: Classification) -> bytes:
    """A datum as a program that knows this schema writes it."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, forms.parsed_schema(name), forms.as_json(classification))
    return out.getvalue()


@pytest.mark.parametrize("classification", ALL)
def test_readers_of_schema_1_go_on(classification: Classification) -> None:
    """A reader that has schema 1 reads a message of schema 2 by Avro's resolution, field for field."""
    datum = io.BytesIO(in_schema(forms.LEAN_SCHEMA, classification))
    old = forms.parsed_schema(forms.LEAN_SCHEMA_1)
    read = fastavro.schemaless_reader(datum, forms.parsed_schema(forms.LEAN_SCHEMA), old)
    written = fastavro.schemaless_reader(io.BytesIO(in_schema(forms.LEAN_SCHEMA_1, classification)), old)
    assert read == written and len(read) == 19


def test_messages_of_schema_1_are_read_with_schema_2() -> None:
    """A message that an earlier release left on the topic is read, framed or whole; what it lacks is null."""
    datum = in_schema(forms.LEAN_SCHEMA_1, CLASSIFIED)
    old = read_message(b"\0\0\0\0\7" + datum)
    assert old.probabilities == CLASSIFIED.probabilities and old.object_id == CLASSIFIED.object_id
    assert old.detection is old.night is old.broad_probabilities is old.prediction_set is old.evidence is None
    fields = forms.as_json(CLASSIFIED)
    names = [field["name"] for field in forms.parsed_schema(forms.LEAN_SCHEMA_1)["fields"]]
    assert from_json({name: fields[name] for name in names}) == old


def test_schemas_have_one_name_and_all_new_fields_have_defaults() -> None:
    """Schema 2 is schema 1 with nullable fields behind it, under the same full name: registries accept it."""
    old, new = (forms.parsed_schema(name) for name in (forms.LEAN_SCHEMA_1, forms.LEAN_SCHEMA))
    assert old["name"] == new["name"] == "ictc.v1.Classification"
    types = [[(field["name"], field["type"]) for field in schema["fields"]] for schema in (old, new)]
    assert types[1][: len(types[0])] == types[0]
    added = new["fields"][len(types[0]) :]
    assert all(field["default"] is None and field["type"][0] == "null" and field["doc"] for field in added)


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


def test_desc_form_has_parameters_for_what_it_has_no_field_for() -> None:
    """First level, prediction set, moving object and previous class stand in the parameters, classes by code."""
    moving = replace(CLASSIFIED, moving_object=MovingObject("2021 AB", 0.5, 19.0))
    datum = forms.desc_encoder("ICTC")(moving)
    record = fastavro.schemaless_reader(io.BytesIO(datum), forms.parsed_schema(forms.DESC_SCHEMA))
    params = orjson.loads(record["classifierParams"])
    assert params["broadClassifications"] == [
        {"classId": 2332, "probability": 0.125},
        {"classId": 2220, "probability": 0.625},
        {"classId": 2310, "probability": 0.25},
    ]
    assert params["predictionSet"] == [2222, 2221] and params["coverage"] == 0.75
    assert params["previousClass"] == "AGN" and params["ssObject"] == "2021 AB"


def test_desc_form_has_the_codes_of_each_surveys_network() -> None:
    """A network's own taxonomy gives the codes of its classes; another survey's are the package's."""
    own = Taxonomy("own-1", ("SNIa", "Comet"), {"SNIa": 7, "Comet": 8}, 300)
    encode = forms.desc_encoder("ICTC", taxonomies={"ztf": own})
    plain = replace(CLASSIFIED, probabilities={"SNIa": 1.0}, broad_probabilities=None, prediction_set=None)
    for survey, code in (("ztf", 7), ("lsst", 2222)):
        record = fastavro.schemaless_reader(
            io.BytesIO(encode(replace(plain, survey=survey))), forms.parsed_schema(forms.DESC_SCHEMA)
        )
        assert record["classifications"] == [{"classId": code, "probability": 1.0}]


def test_class_without_a_code_stops_the_service() -> None:
    """A network whose class has no code cannot speak DESC's form, and the message says how to give it one."""
    with pytest.raises(ConfigurationError, match=r"Comet.*--taxonomy FILE"):
        forms.desc_encoder("ICTC", taxonomies={"ztf": Taxonomy("own-1", ("SNIa", "Comet"), {"SNIa": 7}, 300)})
    foreign = replace(CLASSIFIED, probabilities={"Comet": 1.0}, broad_probabilities=None)
    with pytest.raises(FatalError, match=r"Comet.*--taxonomy FILE"):
        forms.desc_encoder("ICTC")(foreign)


def test_duplicates_are_equal_bytes_with_one_key() -> None:
    """Every form of a duplicate is byte for byte its twin's, under one key."""
    twin = replace(CLASSIFIED)
    for encode in (forms.json_line, forms.container_encoder(), forms.confluent_encoder(1), forms.desc_encoder("I")):
        assert encode(CLASSIFIED) == encode(twin)
    assert forms.key(CLASSIFIED) == forms.key(twin) == b"170028510906023964"
