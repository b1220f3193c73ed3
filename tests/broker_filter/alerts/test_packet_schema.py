"""Schemas by id, by text, and from a registry that comes and goes."""

import json
from pathlib import Path

import pytest
from fastavro.schema import load_schema
from packets import lsst_datum, lsst_schema, ztf_schema

from broker_filter.alerts.packet_schema import (
    COMPARE_AGAIN_S,
    COMPARE_RARELY_S,
    CONTAINER_SCHEMAS_KEPT,
    UNKNOWN_ID_RETRY_S,
    Schemas,
    bundled_schema_file,
)
from broker_filter.alerts.schema_source import RegisteredSchema
from broker_filter.avro.parse import MAX_SCHEMA_BYTES
from broker_filter.errors import ConfigurationError, FatalError, RejectedAlertError, Rejection, RetryableError


class Source:
    """A source of schemas of our own: answers with what it holds, or raises what it is told to."""

    def __init__(self) -> None:
        self.schemas: dict[int, RegisteredSchema] = {}
        self.failure: Exception | None = None
        self.requests = 0

    def schema(self, schema_id: int) -> RegisteredSchema:
        self.requests += 1
        if self.failure is not None:
            raise self.failure
        if schema_id not in self.schemas:
            raise RejectedAlertError(Rejection.UNKNOWN_SCHEMA_ID, f"schema id {schema_id} is not known")
        return self.schemas[schema_id]


AWAY = RetryableError("the registry does not answer")


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("schema_id", [700, 701, 702, 703, 704, 800, 900, 1000, 1100, 1101])
def test_bundled_schemas(schema_id):
    """LSST's ids 100 * major + minor are known without any network."""
    packet = Schemas().by_id(schema_id)
    assert packet.survey.name == "lsst"
    assert packet.version == f"{schema_id // 100}.{schema_id % 100}"


def test_unknown_id_without_registry():
    """An id that is nowhere is rejected with its number."""
    with pytest.raises(RejectedAlertError, match="12345") as caught:
        Schemas().by_id(12345)
    assert caught.value.reason == Rejection.UNKNOWN_SCHEMA_ID


def test_folder(tmp_path):
    """A schema named after its id in the folder is found."""
    (tmp_path / "4200.avsc").write_text(json.dumps(ztf_schema()))
    assert Schemas(folder=tmp_path).by_id(4200).survey.name == "ztf"


def test_folder_in_the_surveys_layout(tmp_path):
    """A folder laid out as LSST lays out its own is found by major and minor version, wherever it stands."""
    inner = tmp_path / "copies" / "12" / "0"
    inner.mkdir(parents=True)
    (inner / "lsst.v12_0.alert.avsc").write_text(json.dumps(lsst_schema()))
    assert Schemas(folder=tmp_path).by_id(1200).survey.name == "lsst"


def test_wrong_files_are_wrong_settings(tmp_path):
    """A schema file or folder that cannot be used stops the program with its name."""
    (tmp_path / "broken.avsc").write_text("{")
    with pytest.raises(ConfigurationError, match=r"broken\.avsc"):
        Schemas(bare_schema=tmp_path / "broken.avsc")
    with pytest.raises(ConfigurationError, match=r"absent\.avsc"):
        Schemas(bare_schema=tmp_path / "absent.avsc")
    for content in ("null", "5", "[" * 100_000, " " * (MAX_SCHEMA_BYTES + 1)):
        (tmp_path / "odd.avsc").write_text(content, "utf-8")
        with pytest.raises(ConfigurationError, match=r"schema file .*odd\.avsc"):
            Schemas(bare_schema=tmp_path / "odd.avsc")
    with pytest.raises(ConfigurationError, match="nowhere"):
        Schemas(folder=tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["300.avsc", "300.json", "3.0.avsc", "3.0.json"])
def test_names_of_files_in_the_folder(tmp_path, name):
    """A file in the folder is named after its id, or after LSST's version, and comes before what is bundled."""
    (tmp_path / name).write_text(json.dumps(ztf_schema()))
    assert Schemas(folder=tmp_path).by_id(300).survey.name == "ztf"


def test_registry_is_asked_once():
    """A schema from the registry is kept for ever, and an outage after it is not noticed."""
    source = Source()
    source.schemas[4200] = RegisteredSchema(json.dumps(ztf_schema()))
    schemas = Schemas(registry=source)
    assert schemas.by_id(4200).survey.name == "ztf"
    source.failure = AWAY
    assert schemas.by_id(4200) is schemas.by_id(4200)
    assert source.requests == 1


@pytest.mark.parametrize("schema_id", [300, 701, 900])
def test_ids_of_ones_own_registry_are_its_own(schema_id):
    """An id of a registry that equals one of LSST's is read with the registry's schema."""
    source = Source()
    source.schemas[schema_id] = RegisteredSchema(json.dumps(ztf_schema()))
    assert Schemas(registry=source).by_id(schema_id).survey.name == "ztf"


def test_bundled_schemas_stand_in_for_a_registry_that_is_away():
    """While the registry is away a bundled schema is used, and confirmed once it answers."""
    source, clock = Source(), Clock()
    source.failure = AWAY
    schemas = Schemas(registry=source, clock=clock)
    used = schemas.by_id(1000)
    assert used.survey.name == "lsst"
    assert schemas.by_id(1000) is used
    assert source.requests == 1
    clock.now += COMPARE_AGAIN_S
    assert schemas.by_id(1000) is used  # still away
    source.failure = None
    source.schemas[1000] = RegisteredSchema(json.dumps(load_schema(str(bundled_schema_file(1000)))))
    clock.now += 2 * COMPARE_AGAIN_S
    assert schemas.by_id(1000) is used
    requests = source.requests
    assert requests == 3
    clock.now += COMPARE_RARELY_S
    assert schemas.by_id(1000) is used
    assert source.requests == requests


@pytest.mark.parametrize("text", [json.dumps(ztf_schema()), "syntax = 'proto3';", "[]", '"long"'])
def test_a_registry_that_differs_from_what_stood_in_stops_us(text):
    """When the registry has another schema than the bundled one that was used, or none of Avro, nothing goes on."""
    source, clock = Source(), Clock()
    source.failure = AWAY
    schemas = Schemas(registry=source, clock=clock)
    schemas.by_id(701)
    source.failure = None
    source.schemas[701] = RegisteredSchema(text)
    clock.now += COMPARE_AGAIN_S
    with pytest.raises(FatalError, match=r"701 of the registry is another.*Nothing of this batch is committed"):
        schemas.by_id(701)


def test_what_the_registry_does_not_know_may_be_bundled():
    """An id that the registry refuses, or does not know, is looked for in the folder and the package."""
    assert Schemas(registry=Source()).by_id(1000).survey.name == "lsst"


def test_a_registry_that_would_not_say_is_asked_again():
    """A refusal of one of LSST's ids passes: what the registry then says of it is held against what stood in."""
    source, clock = Source(), Clock()
    schemas = Schemas(registry=source, clock=clock)
    used = schemas.by_id(701)
    for _ in range(3):
        clock.now += COMPARE_RARELY_S
        assert schemas.by_id(701) is schemas.by_id(701) is used
    assert source.requests == 4
    source.schemas[701] = RegisteredSchema(json.dumps(ztf_schema()))
    clock.now += COMPARE_RARELY_S
    with pytest.raises(FatalError, match="701 of the registry is another"):
        schemas.by_id(701)


def test_unknown_ids_cost_one_look_through_the_folder(tmp_path, monkeypatch):
    """However many ids nobody knows, folders are walked, and the registry asked for each of them, once a minute."""
    walks = []
    walk = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, *rest: walks.append(self) or walk(self, *rest))
    source, clock = Source(), Clock()
    schemas = Schemas(registry=source, folder=tmp_path, clock=clock)
    for _ in range(2):
        for schema_id in range(100_000, 101_000):
            with pytest.raises(RejectedAlertError):
                schemas.by_id(schema_id)
    assert source.requests == 1_000
    assert walks.count(tmp_path) == 1 and len(walks) == 2
    (tmp_path / "lsst.v1000_3.alert.avsc").write_text(json.dumps(ztf_schema()))
    clock.now += UNKNOWN_ID_RETRY_S
    assert schemas.by_id(100_003).survey.name == "ztf"


def test_outage_on_an_unknown_id():
    """An unknown id while the registry is away is no fault of the alert: it is to be tried again, and then succeeds."""
    source = Source()
    source.failure = AWAY
    schemas = Schemas(registry=source)
    with pytest.raises(RetryableError):
        schemas.by_id(4200)
    source.failure = None
    source.schemas[4200] = RegisteredSchema(json.dumps(ztf_schema()))
    assert schemas.by_id(4200).survey.name == "ztf"


def test_registry_does_not_know():
    """An id that the registry does not know is rejected, and asked for again only after a while."""
    clock, source = Clock(), Source()
    schemas = Schemas(registry=source, clock=clock)
    for _ in range(3):
        with pytest.raises(RejectedAlertError, match="12345") as caught:
            schemas.by_id(12345)
        assert caught.value.reason == Rejection.UNKNOWN_SCHEMA_ID
    assert source.requests == 1
    source.schemas[12345] = RegisteredSchema(json.dumps(ztf_schema()))
    clock.now += UNKNOWN_ID_RETRY_S + 1
    assert schemas.by_id(12345).survey.name == "ztf"


def test_registry_holds_nonsense():
    """A registered schema that does not parse rejects the alert that names it."""
    source = Source()
    source.schemas[4200] = RegisteredSchema("{")
    with pytest.raises(RejectedAlertError) as caught:
        Schemas(registry=source).by_id(4200)
    assert caught.value.reason == Rejection.BAD_SCHEMA


def test_types_of_named_schemas_are_known():
    """A schema that names types of other schemas is read with them; without them it is none."""
    schema = ztf_schema()
    candidate = next(field for field in schema["fields"] if field["name"] == "candidate")
    inner, candidate["type"] = candidate["type"], "ztf.alert.candidate"
    inner["name"], inner["namespace"] = "candidate", "ztf.alert"
    source = Source()
    source.schemas[4200] = RegisteredSchema(json.dumps(schema), (json.dumps(inner),))
    source.schemas[4201] = RegisteredSchema(json.dumps(schema))
    schemas = Schemas(registry=source)
    assert schemas.by_id(4200).survey.name == "ztf"
    with pytest.raises(RejectedAlertError, match=r"unknown type ztf\.alert\.candidate"):
        schemas.by_id(4201)


def test_container_schemas_are_parsed_once_and_bounded():
    """The text of a container's schema is parsed once, and a sender of ever new schemas cannot fill the memory."""
    schemas = Schemas()
    text = json.dumps(ztf_schema()).encode()
    assert schemas.of_container(text) is schemas.of_container(text)
    for n in range(2 * CONTAINER_SCHEMAS_KEPT):
        schemas.of_container(json.dumps({"type": "record", "name": f"R{n}", "fields": []}).encode())
    assert len(schemas._by_text) == CONTAINER_SCHEMAS_KEPT


CHAIN = json.dumps(  # each type holds the one before it
    [
        {"type": "record", "name": f"R{n}", "fields": [{"name": "f", "type": f"R{n - 1}" if n else "int"}]}
        for n in range(99)
    ]
).encode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", Rejection.BAD_SCHEMA),
        (b"{}", Rejection.BAD_SCHEMA),
        (b"[]", Rejection.BAD_SCHEMA),
        (b"5", Rejection.BAD_SCHEMA),
        (b"null", Rejection.BAD_SCHEMA),
        (b"\xff\xfe", Rejection.BAD_SCHEMA),
        (b'"unknown.type"', Rejection.BAD_SCHEMA),
        (b'{"type": "record", "name": "R"}', Rejection.BAD_SCHEMA),
        (b'{"type": "record", "name": "R", "fields": [{"name": "f"}]}', Rejection.BAD_SCHEMA),
        (b'{"type": "record", "name": 5, "fields": []}', Rejection.BAD_SCHEMA),
        (b'{"type": "record", "name": "R", "namespace": 5, "fields": []}', Rejection.BAD_SCHEMA),
        (b'{"type": "record", "name": "R", "fields": [{"name": "f", "type": "R"}]}', Rejection.BAD_SCHEMA),
        (b'{"type": "fixed", "name": "F", "size": -1}', Rejection.BAD_SCHEMA),
        (b'{"type": "fixed", "name": "F", "size": true}', Rejection.BAD_SCHEMA),
        (b'{"type": "enum", "name": "E", "symbols": [1]}', Rejection.BAD_SCHEMA),
        (b'{"type": "array"}', Rejection.BAD_SCHEMA),
        (b"[" * 100_000, Rejection.BAD_SCHEMA),
        (b'{"type": "array", "items":' * 40 + b'"int"' + b"}" * 40, Rejection.BAD_SCHEMA),
        (CHAIN, Rejection.BAD_SCHEMA),
        (b'{"type":' * 900 + b'"int"' + b"}" * 900, Rejection.BAD_SCHEMA),
        (b" " * (MAX_SCHEMA_BYTES + 1), Rejection.TOO_LARGE),
    ],
)
def test_bad_schemas(text, reason):
    """A text that is no schema is rejected, every time, however it is nested."""
    schemas = Schemas()
    for _ in range(2):
        with pytest.raises(RejectedAlertError) as caught:
            schemas.of_container(text)
        assert caught.value.reason == reason


def test_tolerated_schemas():
    """A default that does not fit, a type defined twice and a field named twice do not matter."""
    schema = ztf_schema()
    candidate = schema["fields"][4]["type"]
    candidate["fields"][0]["default"] = None
    candidate["fields"].append({"name": "jd", "type": "double"})
    schema["fields"][-1]["type"] = ["null", schema["fields"][-3]["type"][1]]
    assert Schemas().of_container(json.dumps(schema).encode()).survey.name == "ztf"


def test_bare_datums(tmp_path):
    """The schema of bare datums is read from a file, or from files that name one another."""
    (tmp_path / "schema.json").write_text(json.dumps(lsst_schema()))
    packet = Schemas(bare_schema=tmp_path / "schema.json").bare
    assert packet.read(lsst_datum())["diaSource"]["band"] == "g"
