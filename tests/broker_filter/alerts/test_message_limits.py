"""How much one message may hold: small bytes that become much are one rejection of the whole message."""

import bz2
import io
import json
import lzma
import resource
import sys
import tracemalloc
from collections.abc import Callable

import fastavro
import pytest
from packets import container, varint, ztf_record, ztf_schema

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.decode import Decoder, connect
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive.read import read_messages
from broker_filter.avro.codecs import decompress
from broker_filter.avro.container import DEFAULT_LIMITS, MessageLimits
from broker_filter.errors import RejectedAlertError, Rejection
from broker_filter.records import Alert, Message, Origin, Rejected

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ONE_BYTE = {"type": "record", "name": "a", "fields": [{"name": "x", "type": "boolean"}]}
CODECS = ("deflate", "snappy", "zstandard", "bzip2", "xz")


def bomb(count: int, codec: str = "deflate", schema: object = ONE_BYTE, interval: int = 1 << 30) -> bytes:
    """Many records of one byte in few bytes."""
    out = io.BytesIO()
    fastavro.writer(out, schema, ({"x": False} for _ in range(count)), codec=codec, sync_interval=interval)
    return out.getvalue()


def reasons(value: bytes, limits: MessageLimits = DEFAULT_LIMITS) -> list[Rejection | str]:
    results = read_alerts(Message(value, Origin("t")), Schemas(), limits=limits)
    return [result.reason if isinstance(result, RejectedAlertError) else "alert" for result in results]


@pytest.mark.parametrize("codec", CODECS)
def test_many_records_are_one_rejection(codec: str) -> None:
    """A block of 100,000 one-byte records is one rejection, without the memory of as many."""
    value = bomb(100_000, codec)
    tracemalloc.start()
    assert reasons(value) == [Rejection.TOO_LARGE]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_many_blocks_are_counted_together() -> None:
    """Records in blocks of few each, and blocks without any record, count too."""
    assert reasons(bomb(1_001, interval=1)) == [Rejection.TOO_LARGE]
    head = bomb(0)
    empty = varint(0) + varint(2) + b"\x03\x00" + head[-16:]
    assert reasons(head + 1_001 * empty) == [Rejection.TOO_LARGE]


def test_the_limit_itself_is_allowed() -> None:
    """Exactly as many records as the limit are read one by one."""
    value = container(ztf_schema(), [ztf_record(candid=n, previous=0) for n in range(3)], codec="deflate")
    assert reasons(value, MessageLimits(3)) == ["alert"] * 3
    assert reasons(value, MessageLimits(2)) == [Rejection.TOO_LARGE]


@pytest.mark.parametrize("codec", CODECS)
def test_inflated_bytes_are_counted_over_all_blocks(codec: str) -> None:
    """Blocks that inflate to more than the limit together are one rejection, also where each is within it."""
    records = [ztf_record(candid=n, previous=0) for n in range(4)]
    value = container(ztf_schema(), records, codec=codec, sync_interval=1)
    plain = len(container(ztf_schema(), records)) - len(container(ztf_schema(), []))
    assert reasons(value, MessageLimits(inflated_bytes=plain)) == ["alert"] * 4
    assert reasons(value, MessageLimits(inflated_bytes=plain // 2)) == [Rejection.TOO_LARGE]


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_bombs_of_every_codec(codec: str) -> None:
    """A block that inflates to 100 MB is refused at the limit, and the limit is what it takes."""
    value = container(ztf_schema(), [ztf_record(object_id="Z" * 100_000_000)], codec=codec)
    assert len(value) < 10_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reasons(value) == [Rejection.TOO_LARGE]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_one_rejection_through_the_decoder_too() -> None:
    """What the service counts and dead-letters of such a message is one, and the alerts around it go on."""
    limits = MessageLimits(2)
    decoder: Decoder = connect(Schemas(), {}, 1, limits)
    (rejected,) = decoder.decode([Message(bomb(3), Origin("t"))])
    assert isinstance(rejected, Rejected) and rejected.reason == Rejection.TOO_LARGE


@pytest.mark.slow
def test_a_file_of_many_alerts_is_no_bomb(tmp_path) -> None:
    """A container of more alerts than a message may hold is cut as ever; one of as many crumbs is one rejection."""
    path = tmp_path / "many.avro"
    nothing = dict.fromkeys(("cutoutScience", "cutoutTemplate", "cutoutDifference"))
    records = (ztf_record(candid=n, previous=4, stamps=nothing) for n in range(1_200))
    path.write_bytes(container(ztf_schema(), records, codec="deflate", sync_interval=1 << 30))
    messages = list(read_messages([path]))
    assert len(messages) == 1_200
    assert all(isinstance(r, Alert) for m in messages for r in read_alerts(m, Schemas()))
    path.write_bytes(bomb(100_000))
    (message,) = read_messages([path])
    assert reasons(message.value) == [Rejection.TOO_LARGE]


@pytest.mark.slow
def test_a_schema_of_a_megabyte_is_compiled_once() -> None:
    """The schema of a sender is bounded in bytes whatever it describes."""
    fields = [{"name": f"f{n}", "type": ["null", "string"]} for n in range(40_000)]
    text = json.dumps({"type": "record", "name": "a", "fields": fields}).encode()
    assert len(text) > 1 << 20
    value = b"Obj\x01\x02" + varint(11) + b"avro.schema" + varint(len(text)) + text + b"\0" + bytes(16)
    assert reasons(value) == [Rejection.TOO_LARGE]


@pytest.mark.parametrize("codec", ["bzip2", "xz", "zstandard"])
def test_streams_behind_one_another_are_one_block(codec: str) -> None:
    """Blocks whose writer compressed them piece by piece are read as the libraries read them, within the limits."""
    compress: dict[str, Callable[[bytes], bytes]] = {
        "bzip2": bz2.compress,
        "xz": lzma.compress,
        "zstandard": zstd.compress,
    }
    data = compress[codec](b"first ") + compress[codec](b"second")
    assert decompress(data, codec, 12) == b"first second"
    for beyond in (data, 1_000 * compress[codec](b"")):
        with pytest.raises(RejectedAlertError):
            decompress(beyond, codec, 11)
