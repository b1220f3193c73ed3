"""Files, folders and archives as streams of messages."""

import gzip
import io
import lzma
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from packets import container, lsst_packet, ztf_packet, ztf_record, ztf_schema

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive.read import read_messages
from broker_filter.archive.tars import MAX_TAR_HEADER_BYTES
from broker_filter.avro.envelope import MAX_MESSAGE_BYTES
from broker_filter.errors import ConfigurationError, RejectedAlertError, Rejection
from broker_filter.records import Message, Rejected


def tar_of(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def alert_ids(messages) -> list[int]:
    schemas = Schemas()
    return [alert.alert_id for message in messages for alert in read_alerts(message, schemas)]


@pytest.mark.parametrize("content", [ztf_packet(), lsst_packet(), b"some text", b""])
def test_a_file_is_a_message(tmp_path, content):
    """A file of one alert is passed on byte for byte, and so is what is none."""
    path = written(tmp_path / "one.avro", content)
    (message,) = read_messages([path])
    assert message.value == content
    assert (message.origin.source, message.origin.offset) == (str(path), 0)


def test_folders_in_the_order_of_names(tmp_path):
    """A folder is read with all below it in the order of names, and only what is named like an alert or an archive."""
    for name in ("b/2.avro", "b/1.avro", "a/3.avro", "c.avro", "b/schema.json", "README"):
        written(tmp_path / name, name.encode())
    assert [message.value for message in read_messages([tmp_path])] == [
        b"a/3.avro",
        b"b/1.avro",
        b"b/2.avro",
        b"c.avro",
    ]


def test_a_named_file_may_have_any_name(tmp_path):
    """A file that is named itself is read whatever its suffix."""
    (message,) = read_messages([written(tmp_path / "alert.bin", b"bytes")])
    assert message.value == b"bytes"


def test_missing_path(tmp_path):
    """A path that does not exist is a wrong setting, said before anything is read."""
    with pytest.raises(ConfigurationError, match=r"nothing\.avro"):
        read_messages([tmp_path / "nothing.avro"])


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar(tmp_path, mode):
    """A tar archive is streamed member by member, compressed or not, each with its name."""
    members = {f"night/{n}.avro": ztf_packet(candid=n) for n in range(5)} | {"night/README": b"no alert"}
    path = written(tmp_path / f"night.tar.{mode[2:]}".rstrip("."), tar_of(members, mode))
    messages = list(read_messages([path]))
    assert alert_ids(messages) == [0, 1, 2, 3, 4]
    assert [message.origin.source for message in messages][1] == f"{path}::night/1.avro"
    assert not list(tmp_path.glob("**/*.avro"))


def test_gzipped_alert(tmp_path):
    """A single compressed alert is read."""
    packet = ztf_packet(candid=9)
    assert alert_ids(read_messages([written(tmp_path / "9.avro.gz", gzip.compress(packet))])) == [9]
    assert alert_ids(read_messages([written(tmp_path / "9.avro.xz", lzma.compress(packet))])) == [9]


def test_only_regular_members(tmp_path):
    """Links, devices and folders in an archive are passed over, and paths out of it lead nowhere."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, kind in (
            ("link.avro", tarfile.SYMTYPE),
            ("pipe.avro", tarfile.FIFOTYPE),
            ("d.avro", tarfile.DIRTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        info = tarfile.TarInfo("../../outside.avro")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"data"))
    path = written(tmp_path / "inner" / "odd.tar.gz", out.getvalue())
    assert [message.value for message in read_messages([path])] == [b"data"]
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["odd.tar.gz"]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("share", [0.5, 0.83])
def test_cut_archive(tmp_path, mode, share):
    """Of an archive that breaks off, what is there is read, the rest is one rejection, and the next path follows."""
    whole = tar_of({f"{n}.avro": ztf_packet(candid=n) for n in range(10)}, mode)
    path = written(tmp_path / "cut.tar", whole[: int(share * len(whole))])
    after = written(tmp_path / "zz.avro", ztf_packet(candid=99))
    *messages, rejected, last = read_messages([path, after])
    assert isinstance(rejected, Rejected)
    assert rejected.reason == Rejection.CORRUPT
    assert f"{path}" in str(rejected.message.origin)
    assert "breaks off after" in rejected.detail
    ids = alert_ids(messages)
    assert ids == list(range(len(ids)))
    assert 3 <= len(ids) < 10
    assert alert_ids([last]) == [99]


def test_cut_between_members(tmp_path):
    """An archive that ends right behind a member, without its end mark, is recognised as cut."""
    whole = tar_of({f"{n}.avro": b"x" * 512 for n in range(4)}, "w")
    *messages, rejected = read_messages([written(tmp_path / "cut.tar", whole[:2048])])
    assert [message.value for message in messages] == [b"x" * 512] * 2
    assert rejected.reason == Rejection.CORRUPT


def test_archive_that_is_none(tmp_path):
    """A file that is only named like an archive is one rejection."""
    (rejected,) = read_messages([written(tmp_path / "fake.tar.gz", b"\x1f\x8bnothing of the kind")])
    assert rejected.reason == Rejection.CORRUPT
    (rejected,) = read_messages([written(tmp_path / "fake.tar", b"nothing of the kind")])
    assert rejected.reason == Rejection.CORRUPT


@pytest.mark.parametrize("codec", ["null", "deflate"])
@pytest.mark.parametrize("sync_interval", [1, 150_000, 10_000_000])
def test_container_of_many(tmp_path, codec, sync_interval):
    """A container of many records becomes one message per record, whatever its blocks and codec."""
    records = [ztf_record(candid=n) for n in range(9)]
    path = written(tmp_path / "many.avro", container(ztf_schema(), records, codec=codec, sync_interval=sync_interval))
    messages = list(read_messages([path]))
    assert [message.origin.offset for message in messages] == list(range(9))
    assert alert_ids(messages) == list(range(9))


def test_container_without_records(tmp_path):
    """A sound container without records is a message still, so that it is accounted for."""
    empty = container(ztf_schema(), [])
    assert [m.value for m in read_messages([written(tmp_path / "empty.avro", empty)])] == [empty]


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_broken_record_in_a_container(tmp_path, codec):
    """Records before a break are read, and what follows it is a message that the alert room rejects."""
    whole = container(ztf_schema(), [ztf_record(candid=n) for n in range(6)], codec=codec, sync_interval=1)
    *messages, last = read_messages([written(tmp_path / "cut.avro", whole[: int(0.7 * len(whole))])])
    assert alert_ids(messages) == [0, 1, 2, 3]
    (error,) = read_alerts(last, Schemas())
    assert isinstance(error, RejectedAlertError)
    assert error.reason == Rejection.CORRUPT


def test_lying_record_in_a_block(tmp_path):
    """A block that promises more records than it holds gives those it holds, and one message of the rest."""
    records = [ztf_record(candid=n) for n in range(3)]
    whole = bytearray(container(ztf_schema(), records, sync_interval=10_000_000))
    block = whole.index(bytes(range(16))) + 16
    assert whole[block] == 6  # three records, zigzag
    whole[block] = 10
    messages = list(read_messages([written(tmp_path / "lies.avro", bytes(whole))]))
    assert alert_ids(messages[:3]) == [0, 1, 2]
    (error,) = read_alerts(messages[3], Schemas())
    assert error.reason == Rejection.CORRUPT


def test_too_large(tmp_path):
    """A file over the limit of a message is rejected by its name, within fixed memory."""
    path = tmp_path / "huge.avro"
    with path.open("wb") as file:
        file.truncate(40 * MAX_MESSAGE_BYTES)  # a hole: it takes no space
    tracemalloc.start()
    (rejected,) = read_messages([path])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rejected.reason == Rejection.TOO_LARGE
    assert peak < 3 * MAX_MESSAGE_BYTES


def test_memory_does_not_grow_with_the_archive(tmp_path):
    """An archive that inflates to half a gigabyte is streamed in a few megabytes."""
    packet = ztf_packet()
    once = io.BytesIO()
    info = tarfile.TarInfo("alert.avro")
    info.size = len(packet)
    with tarfile.open(fileobj=once, mode="w") as tar:
        tar.addfile(info, io.BytesIO(packet))
    member = once.getvalue()[: 512 + -(-len(packet) // 512) * 512]
    path = tmp_path / "night.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(500):
            file.write(member)
        file.write(bytes(10240))
    tracemalloc.start()
    assert sum(len(message.value) == len(packet) for message in read_messages([path])) == 500
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000


def test_huge_tar_headers(tmp_path):
    """An extended header of gigabytes, which tarfile would read whole, ends the archive with a rejection."""
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.XHDTYPE, 100 * MAX_TAR_HEADER_BYTES
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(info.size))
    tracemalloc.start()
    (rejected,) = read_messages([path])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rejected.reason == Rejection.CORRUPT
    assert "a tar header of" in rejected.detail
    assert peak < 20 * MAX_TAR_HEADER_BYTES


def test_real_archive(tmp_path, survey_alerts):
    """A night of real alerts gives the same messages from its folder as from a tar of it."""
    folder = survey_alerts.alerts / "ztf" / "20211122"
    if not survey_alerts.real:
        folder = max((survey_alerts.alerts / "ztf").iterdir(), key=lambda night: len(list(night.iterdir())))
    path = tmp_path / "ztf_public_20211122.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, f"20211122/{file.name}")
    from_folder = [message.value for message in read_messages([folder])]
    from_tar = [message.value for message in read_messages([path]) if isinstance(message, Message)]
    assert from_folder == from_tar
    assert len(from_folder) == (101 if survey_alerts.real else len(list(folder.iterdir())))
