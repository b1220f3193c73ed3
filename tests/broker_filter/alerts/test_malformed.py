"""What real archives and hostile senders hold beside good alerts: always a reason, never a crash, in fixed memory."""

import csv
import json
import resource
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packets import container, fits_bytes, lsst_packet, sky, varint, ztf_packet, ztf_record, ztf_schema, ztf_stamp

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.alerts.stamp import observe
from broker_filter.archive.read import read_messages
from broker_filter.errors import NotClassified, NotClassifiedError, RejectedAlertError, Rejection
from broker_filter.records import STAMP_KINDS, Alert, Message, Origin
from model.series import BANDS

FIELDS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
SMALL_ZTF = ztf_packet(previous=2, stamps=dict.fromkeys(FIELDS, ztf_stamp(sky(1, 9))))
SMALL_LSST = lsst_packet(history=1, stamps=dict.fromkeys(FIELDS, fits_bytes(sky(1, 9))))
SCHEMAS = Schemas()

# What each folder of the misfits must give, per record, in the order of the folders.
EXPECTED = {
    "edge/jpeg_stamps": {NotClassified.UNSUPPORTED_STAMP: 2, Rejection.MISSING_FIELD: 10},
    "edge/no_cutouts": {NotClassified.NO_STAMPS: 8},
    "lsst_wire_minimal": {NotClassified.NO_STAMPS: 5, Rejection.UNKNOWN_SCHEMA_ID: 3},
    "malformed/bad_default_in_schema": {Rejection.FOREIGN_SURVEY: 3},
    "malformed/bad_writer_schema": {Rejection.FOREIGN_SURVEY: 1},
    "malformed/corrupt_container": {Rejection.CORRUPT: 7},
    "malformed/empty_container": {},
    "malformed/not_avro_git_lfs_pointer": {Rejection.NOT_AVRO: 2},
    "malformed/schemaless_ancient": {Rejection.NOT_AVRO: 2},
    "malformed/unknown_raw_datum": {Rejection.NOT_AVRO: 1},
    "other_surveys": {Rejection.FOREIGN_SURVEY: 20},
}


def outcomes(message: Message) -> list[str]:
    """Read a message to its end and say what became of every record."""
    result = []
    for read in read_alerts(message, SCHEMAS):
        if isinstance(read, RejectedAlertError):
            result.append(read.reason)
            continue
        assert isinstance(read, Alert)
        try:
            observe(read, STAMP_KINDS, 63, BANDS)
            result.append("observed")
        except (NotClassifiedError, RejectedAlertError) as error:
            result.append(error.reason)
    return result


@pytest.mark.parametrize("folder", EXPECTED)
def test_real_misfits(folder, shared_data):
    """Every misfit found in the wild gets the reason that fits it, from the archive as from a topic."""
    messages = list(read_messages([shared_data / "alerts" / folder]))
    assert all(isinstance(message, Message) for message in messages)
    assert Counter(reason for message in messages for reason in outcomes(message)) == EXPECTED[folder]


def test_every_misfit_is_covered(shared_data):
    """Each file of the manifest of misfits lies in a folder that is tested."""
    with (shared_data / "alerts/manifest_misc.csv").open() as rows:
        folders = {row["file"].removeprefix("alerts/").rpartition("/")[0] for row in csv.DictReader(rows)}
    assert all(folder.startswith(tuple(EXPECTED)) for folder in folders)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(packet=st.sampled_from((SMALL_ZTF, SMALL_LSST)), data=st.data())
def test_flipped_bytes(packet, data):
    """A packet with a few bytes changed is an alert or a rejection, and nothing else."""
    changed = bytearray(packet)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    assert outcomes(Message(bytes(changed), Origin("fuzz"))) is not None


@settings(max_examples=200, deadline=None)
@given(packet=st.sampled_from((SMALL_ZTF, SMALL_LSST)), share=st.floats(0, 1, exclude_max=True))
def test_truncations(packet, share):
    """A packet cut anywhere is one rejection."""
    (outcome,) = outcomes(Message(packet[: int(share * len(packet))], Origin("fuzz"))) or ["empty container"]
    assert outcome in (Rejection.CORRUPT, Rejection.NOT_AVRO, "empty container")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from((b"", b"Obj\x01", b"\0\0\0\x03\xe8", b"\0")), st.binary(max_size=400))
def test_noise(prefix, noise):
    """Noise behind any prefix never raises."""
    outcomes(Message(prefix + noise, Origin("fuzz")))


SYNC = bytes(range(16))
SCHEMA_TEXT = json.dumps(ztf_schema()).encode()
HEADER = b"Obj\x01\x02" + varint(11) + b"avro.schema" + varint(len(SCHEMA_TEXT)) + SCHEMA_TEXT + b"\0" + SYNC
HUGE = 2**31


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(HEADER + varint(1) + varint(HUGE) + b"x", id="block of 2 GB"),
        pytest.param(HEADER + varint(HUGE) + varint(4) + b"abcd" + SYNC, id="block of 2 billion records"),
        pytest.param(HEADER + varint(-1) + varint(4) + b"abcd" + SYNC, id="negative count"),
        pytest.param(HEADER + varint(1) + varint(-4) + b"abcd" + SYNC, id="negative size"),
        pytest.param(HEADER + varint(1) + varint(4) + b"abcd" + bytes(16), id="wrong sync marker"),
        pytest.param(b"Obj\x01" + varint(HUGE) + b"x", id="2 billion entries of metadata"),
        pytest.param(b"Obj\x01\x02" + varint(HUGE) + b"x", id="key of 2 GB"),
        pytest.param(b"Obj\x01\x02" + varint(11) + b"avro.schema" + varint(HUGE) + b"{", id="schema of 2 GB"),
        pytest.param(b"\0\0\0\x03\xe8" + varint(1) + b"\2" + varint(HUGE) + b"x", id="string of 2 GB"),
        pytest.param(ztf_packet()[:-17] + b"\x7f" * 17, id="no sync marker at the end"),
    ],
)
def test_lying_lengths(value):
    """Lengths of gigabytes in a small message are corrupt, at once and without the memory."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    assert set(outcomes(Message(value, Origin("test")))) == {Rejection.CORRUPT}
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 20_000
    assert time.process_time() - start < 5


@pytest.mark.slow
def test_bombs():
    """A block that inflates without end is refused at the limit."""
    bomb = container(ztf_schema(), [ztf_record(object_id="Z" * 100_000_000)], codec="deflate")
    assert len(bomb) < 200_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcomes(Message(bomb, Origin("test"))) == [Rejection.TOO_LARGE]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_codecs_that_are_not_read():
    """A codec that is not read is named."""
    value = container(ztf_schema(), [ztf_record()], codec="null").replace(b"\x08null", b"\x08lz4x")
    (error,) = read_alerts(Message(value, Origin("test")), SCHEMAS)
    assert error.reason == Rejection.BAD_SCHEMA
    assert "lz4x" in error.detail


def test_container_without_schema():
    """A container that does not say what it holds is rejected."""
    assert outcomes(Message(b"Obj\x01\0" + SYNC, Origin("test"))) == [Rejection.BAD_SCHEMA]
