"""Schemas by id, by text, and from a registry that comes and goes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from packets import lsst_datum, lsst_schema, ztf_schema

from broker_filter.alerts.packet_schema import CONTAINER_SCHEMAS_KEPT, UNKNOWN_ID_RETRY_S, Schemas
from broker_filter.avro.parse import MAX_SCHEMA_BYTES
from broker_filter.errors import ConfigurationError, RejectedAlertError, Rejection, RetryableError


class Registry:
    """A schema registry of our own: answers with what it holds, counts what it is asked."""

    def __init__(self) -> None:
        self.schemas: dict[int, str] = {}
        self.status: int | None = None  # answer this to everything
        self.asked = 0
        self.url = ""


@contextmanager
def running_registry() -> Iterator[Registry]:
    registry = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.asked += 1
            schema_id = int(self.path.partition("?")[0].rpartition("/")[2])
            status, body = 200, {"schema": registry.schemas.get(schema_id, "")}
            if registry.status is not None:
                status, body = registry.status, {"error_code": registry.status, "message": "as the test wants it"}
            elif schema_id not in registry.schemas:
                status, body = 404, {"error_code": 40403, "message": "Schema not found"}
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    registry.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


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
    with pytest.raises(ConfigurationError, match="nowhere"):
        Schemas(folder=tmp_path / "nowhere")


def test_registry_is_asked_once():
    """A schema from the registry is kept for ever, and an outage after it is not noticed."""
    with running_registry() as registry:
        registry.schemas[4200] = json.dumps(ztf_schema())
        schemas = Schemas(registry_url=registry.url)
        assert schemas.by_id(4200).survey.name == "ztf"
        assert schemas.by_id(4200) is schemas.by_id(4200)
        assert registry.asked == 1
    assert schemas.by_id(4200).survey.name == "ztf"


def test_bundled_schemas_need_no_registry():
    """An outage of the registry does not matter to the ids that are bundled."""
    with running_registry() as registry:
        schemas = Schemas(registry_url=registry.url)
    assert schemas.by_id(1000).survey.name == "lsst"
    assert registry.asked == 0


def test_outage_on_an_unknown_id():
    """An unknown id while the registry is away is no fault of the alert: it is to be tried again, and then succeeds."""
    with running_registry() as registry:
        registry.schemas[4200] = json.dumps(ztf_schema())
        registry.status = 503
        schemas = Schemas(registry_url=registry.url)
        with pytest.raises(RetryableError, match="4200"):
            schemas.by_id(4200)
        registry.status = None
        assert schemas.by_id(4200).survey.name == "ztf"


def test_registry_is_gone():
    """A registry that does not answer at all is to be tried again."""
    with running_registry() as registry:
        schemas = Schemas(registry_url=registry.url)
    with pytest.raises(RetryableError, match="4200"):
        schemas.by_id(4200)


def test_registry_does_not_know():
    """An id that the registry does not know is rejected, and asked for again only after a while."""
    clock = Clock()
    with running_registry() as registry:
        schemas = Schemas(registry_url=registry.url, clock=clock)
        for _ in range(3):
            with pytest.raises(RejectedAlertError, match="12345") as caught:
                schemas.by_id(12345)
            assert caught.value.reason == Rejection.UNKNOWN_SCHEMA_ID
        assert registry.asked == 1
        registry.schemas[12345] = json.dumps(ztf_schema())
        clock.now += UNKNOWN_ID_RETRY_S + 1
        assert schemas.by_id(12345).survey.name == "ztf"


def test_registry_refuses_us():
    """Wrong credentials are a wrong setting, which stops the service."""
    with running_registry() as registry:
        registry.status = 401
        with pytest.raises(ConfigurationError, match="refuses"):
            Schemas(registry_url=registry.url).by_id(4200)


def test_registry_holds_nonsense():
    """A registered schema that does not parse rejects the alert that names it."""
    with running_registry() as registry:
        registry.schemas[4200] = "{"
        with pytest.raises(RejectedAlertError) as caught:
            Schemas(registry_url=registry.url).by_id(4200)
    assert caught.value.reason == Rejection.BAD_SCHEMA


def test_wrong_url():
    """A registry address that is none is a wrong setting."""
    with pytest.raises(ConfigurationError, match="not-a-url"):
        Schemas(registry_url="not-a-url")


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
