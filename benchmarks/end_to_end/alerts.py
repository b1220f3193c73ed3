"""Any number of alerts: copies of real packets where they are, else of simulated ones. No benchmark by itself.

A copy has its own object and alert ids and every other byte of its original: stamps, history, schema version.
"""

import io
from dataclasses import dataclass
from itertools import islice

import fastavro
from fastavro.schema import load_schema

from benchmarks.setting import shared_data
from broker_filter.alerts.packet_schema import bundled_schema_file
from model.simulation.alerts.night import write_night

SURVEYS = ("ztf", "lsst")
ID_STRIDE = 1_000_000_007  # between the ids of copies
CONFLUENT_HEAD = 5  # bytes before a framed datum
OBJECTS, NIGHTS, SEED = 60, 30, 11  # of the simulated sky


@dataclass(frozen=True, slots=True)
class Packet:
    """One message to publish."""

    alert_id: int
    content: bytes


def replaced(content: bytes, *pairs: tuple[bytes, bytes]) -> bytes:
    """A packet in which byte strings stand in place of others of the same length, which it must hold."""
    for old, new in pairs:
        assert old in content and len(old) == len(new)
        content = content.replace(old, new)
    return content


def many(survey: str, count: int) -> tuple[str, list[Packet]]:
    """What they are, and so many packets of a survey."""
    folder = shared_data()
    if folder is None:
        kind = "simulated"
        contents = [content for content, _ in islice(write_night(survey, OBJECTS, NIGHTS, SEED), count)]
    else:
        files = sorted((folder / "alerts" / ("ztf" if survey == "ztf" else "lsst/v10_0_wire")).rglob("*.avro"))
        kind, contents = "real", [path.read_bytes() for path in files]
    originals = [(_Ztf if survey == "ztf" else _Lsst)(content) for content in contents]
    packets = [originals[n % len(originals)].copy(n // len(originals)) for n in range(count)]
    return f"{count} copies of {len(originals)} {kind} alerts", packets


class _Ztf:
    """A container of one record."""

    def __init__(self, content: bytes) -> None:
        reader = fastavro.reader(io.BytesIO(content))
        self._record = next(iter(reader))
        self._schema = fastavro.parse_schema(reader.writer_schema)  # type: ignore[arg-type]

    def copy(self, number: int) -> Packet:
        alert_id = self._record["candid"] + number * ID_STRIDE  # type: ignore[index, call-overload]
        object_id = f"{self._record['objectId']}{number or ''}"  # type: ignore[index, call-overload]
        out = io.BytesIO()
        fastavro.writer(out, self._schema, [{**self._record, "candid": alert_id, "objectId": object_id}])  # type: ignore[dict-item]
        return Packet(alert_id, out.getvalue())


class _Lsst:
    """A framed datum."""

    def __init__(self, value: bytes) -> None:
        self._head = value[:CONFLUENT_HEAD]
        self._schema = load_schema(str(bundled_schema_file(int.from_bytes(self._head[1:], "big"))))
        self._record = fastavro.schemaless_reader(io.BytesIO(value[CONFLUENT_HEAD:]), self._schema)

    def copy(self, number: int) -> Packet:
        record = dict(self._record)  # type: ignore[arg-type]
        source = dict(record["diaSource"])
        source["diaSourceId"] += number * ID_STRIDE
        record |= {"diaSourceId": source["diaSourceId"], "diaSource": source}
        if record.get("diaObject"):  # else it is a known body of the Solar system
            record["diaObject"] = {**record["diaObject"]}
            record["diaObject"]["diaObjectId"] += number * ID_STRIDE
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self._schema, record)
        return Packet(source["diaSourceId"], self._head + out.getvalue())
