"""Archives that lie, break off, link, compress or hide: what is sound is read, the rest is rejected or counted."""

import bz2
import gzip
import io
import json
import lzma
import os
import sys
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packets import container, ztf_packet, ztf_record, ztf_schema

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive import tars
from broker_filter.archive.left_out import LeftOutCounts
from broker_filter.archive.read import read_messages
from broker_filter.avro.container import write_block, write_header
from broker_filter.errors import Rejection
from broker_filter.records import Alert, Message, Origin, Rejected

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ALERT = ztf_packet(candid=1)
COMPRESSIONS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress}


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int | None = None) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = (len(ALERT) if kind == tarfile.REGTYPE else 0) if size is None else size
    return info


def tar_of(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    """A tar of these members, each with its content or an alert."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=tarfile.GNU_FORMAT) as tar:
        for one in members:
            info, content = one if isinstance(one, tuple) else (one, ALERT)
            info.size = len(content) if isinstance(one, tuple) else info.size
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return out.getvalue()


def read(path: Path) -> tuple[list[str], list[Rejection], dict[str, int]]:
    """Of a path: where each alert came from, the reasons of rejections, and what was left out."""
    left_out = LeftOutCounts()
    sources, reasons = [], []
    for item in read_messages([path], left_out):
        if isinstance(item, Rejected):
            reasons.append(item.reason)
            continue
        for result in read_alerts(item, Schemas()):
            if isinstance(result, Alert):
                sources.append(item.origin.source.removeprefix(f"{path}::").removeprefix(f"{path}"))
            else:
                reasons.append(result.reason)
    return sources, reasons, left_out.by_reason


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_compressed_members_are_read(tmp_path: Path, suffix: str) -> None:
    """An alert that is compressed within a tar is an alert; one that does not inflate is rejected alone."""
    compress = COMPRESSIONS[suffix]
    broken = compress(ALERT)[:-20]
    tar = tar_of((member(f"a.avro{suffix}"), compress(ALERT)), (member(f"b.avro{suffix}"), broken), member("c.avro"))
    assert read(written(tmp_path / "night.tar", tar)) == ([f"a.avro{suffix}", "c.avro"], [Rejection.CORRUPT], {})


def test_names_of_any_case(tmp_path: Path) -> None:
    """Upper-case suffixes are read in tars and folders."""
    tar = tar_of(member("0.AVRO"), member("1.Avro"), member("2.avro"))
    assert read(written(tmp_path / "night.TAR", tar))[0] == ["0.AVRO", "1.Avro", "2.avro"]
    for name in ("A.AVRO", "b.Avro.GZ"):
        written(tmp_path / "folder" / name, ALERT if name == "A.AVRO" else gzip.compress(ALERT))
    assert len(read(tmp_path / "folder")[0]) == 2


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_links_within_an_archive_are_read(tmp_path: Path, mode: str) -> None:
    """Hard and symbolic links, to what stands before or behind them and over several hops, give the alert again."""
    tar = tar_of(
        member("b/early.avro", tarfile.SYMTYPE, "../a/0.avro"),
        member("a/0.avro"),
        member("hard.avro", tarfile.LNKTYPE, "a/0.avro"),
        member("b/hop.avro", tarfile.SYMTYPE, "early.avro"),
        mode=mode,
    )
    sources, reasons, left_out = read(written(tmp_path / "night.tar", tar))
    assert (reasons, left_out) == ([], {})
    assert sorted(sources) == ["a/0.avro", "b/early.avro", "b/hop.avro", "hard.avro"]


def test_links_out_of_an_archive_are_never_followed(tmp_path: Path) -> None:
    """A link that leads out, in a circle or to nothing is counted by its reason, and the file outside is not opened."""
    secret = written(tmp_path / "secret.avro", ztf_packet(candid=666))
    tar = tar_of(
        member("up.avro", tarfile.SYMTYPE, "../secret.avro"),
        member("root.avro", tarfile.SYMTYPE, str(secret)),
        member("hard.avro", tarfile.LNKTYPE, "../secret.avro"),
        member("x.avro", tarfile.SYMTYPE, "y.avro"),
        member("y.avro", tarfile.SYMTYPE, "x.avro"),
        member("gone.avro", tarfile.SYMTYPE, "nothing.avro"),
        member("0.avro"),
    )
    sources, reasons, left_out = read(written(tmp_path / "in" / "night.tar", tar))
    assert (sources, reasons) == (["0.avro"], [])
    assert left_out == {"link_outside": 3, "link_broken": 3}


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    """Devices, other names and archives in archives are counted by reason; folders are nothing to read."""
    tar = tar_of(
        member("pipe.avro", tarfile.FIFOTYPE),
        member("night", tarfile.DIRTYPE),
        (member("README"), b"text"),
        (member("inner.tar.gz"), b"x"),
        member("0.avro"),
    )
    path = written(tmp_path / "night.tar", tar)
    assert read(path) == (["0.avro"], [], {"other_name": 1, "nested_archive": 1, "special_file": 1})


def test_folders_are_read_however_deep(tmp_path: Path) -> None:
    """An alert below more folders than Python calls functions is read, those beside them too, in the order of names."""
    (tmp_path / "a.avro").write_bytes(ALERT)
    (tmp_path / "z.avro").write_bytes(ALERT)
    folder = tmp_path
    for _ in range(sys.getrecursionlimit() + 20):
        folder /= "d"
        folder.mkdir()
    (folder / "deep.avro").write_bytes(ALERT)
    names = [Path(message.origin.source).name for message in read_messages([tmp_path]) if isinstance(message, Message)]
    (folder / "deep.avro").unlink()
    while folder != tmp_path:  # what clears up after tests goes no deeper than Python calls functions
        folder.rmdir()
        folder = folder.parent
    assert names == ["a.avro", "deep.avro", "z.avro"]


def test_folders_that_are_links_are_read_once(tmp_path: Path) -> None:
    """A linked night is read, a circle of links ends, a link to nothing is counted."""
    written(tmp_path / "disk" / "night" / "0.avro", ALERT)
    top = tmp_path / "top"
    top.mkdir()
    (top / "night").symlink_to(tmp_path / "disk" / "night")
    (top / "again").symlink_to(tmp_path / "disk" / "night")
    (tmp_path / "disk" / "night" / "up").symlink_to(top)
    (top / "gone.avro").symlink_to(tmp_path / "nothing")
    os.mkfifo(top / "pipe.avro")
    written(top / "notes.txt", b"x")
    sources, reasons, left_out = read(top)
    assert (len(sources), reasons) == (1, [])
    assert left_out == {"other_name": 1, "link_broken": 1, "folder_twice": 2, "special_file": 1}


@pytest.mark.parametrize("name", ["empty.tgz", "empty.tar", "empty.tar.xz"])
def test_an_empty_archive_is_no_alert(tmp_path: Path, name: str) -> None:
    """A tar without members gives nothing, and is counted."""
    pack = {"empty.tgz": gzip.compress, "empty.tar": bytes, "empty.tar.xz": lzma.compress}[name]
    assert read(written(tmp_path / name, pack(bytes(10_240)))) == ([], [], {"empty_archive": 1})


def lying(size_field: bytes, pax: bytes = b"") -> bytes:
    """A tar whose second of three members says that it has another size."""
    parts = []
    if pax:
        record = b" size=" + pax + b"\n"
        length = len(record) + len(str(len(record) + 2))
        record = str(length).encode() + record
        info = member("pax", tarfile.XHDTYPE, size=len(record))
        parts.append(info.tobuf() + record.ljust(512, b"\0"))
    head = bytearray(member("1.avro").tobuf())
    head[124:136] = size_field.ljust(12, b"\0")
    checksum = sum(head[:148]) + 8 * 32 + sum(head[156:512])
    head[148:156] = b"%06o\0 " % checksum
    body = ALERT + bytes(-len(ALERT) % 512)
    return (
        member("0.avro").tobuf()
        + body
        + b"".join(parts)
        + bytes(head)
        + body
        + member("2.avro").tobuf()
        + body
        + bytes(10_240)
    )


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("field", "pax"),
    [
        (b"77777777777", b""),
        (b"\x80" + b"\x7f".rjust(11, b"\xff"), b""),
        (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", b""),
        (b"\xff" * 12, b""),
        (b"00000000100", b""),
        (b"00000000000", b"99999999999999999999999999"),
        (b"00000000000", b"-512"),
        (b"00000000000", b"1e9"),
        (b"not a number", b""),
    ],
)
def test_a_member_that_lies_about_its_size(tmp_path: Path, compress, field: bytes, pax: bytes) -> None:
    """The archive ends within seconds: what stands before the lie is read, the rest is a rejection."""
    path = written(tmp_path / "night.tar", compress(lying(field, pax)))
    begun_s = time.process_time()
    sources, reasons, _ = read(path)
    assert time.process_time() - begun_s < 5
    assert sources[0] == "0.avro"
    assert reasons


def test_a_lie_near_the_end_is_not_passed_over(tmp_path: Path) -> None:
    """A header that is none is told also where the end mark follows in the same read."""
    body = ALERT + bytes(-len(ALERT) % 512)
    small = (b"x" * 40).ljust(512, b"\0")
    tar = member("0.avro").tobuf() + body + small + member("1.avro").tobuf() + body + bytes(1_024)
    assert read(written(tmp_path / "night.tar", tar)) == (["0.avro"], [Rejection.CORRUPT], {})


def test_archives_put_together_are_read_whole(tmp_path: Path) -> None:
    """What lies behind an end mark is read and not lost."""
    tar = tar_of(member("0.avro")) + tar_of(member("1.avro"))
    assert read(written(tmp_path / "night.tar", tar)) == (["0.avro", "1.avro"], [], {})


def test_zeros_without_end(tmp_path: Path) -> None:
    """Gigabytes of zeros behind the last member, a few kilobytes when compressed, end at a limit."""
    tail = io.BytesIO()
    with gzip.GzipFile(fileobj=tail, mode="wb", compresslevel=1) as out:
        out.write(tar_of(member("0.avro")))
        for _ in range(80):
            out.write(bytes(1 << 20))
    sources, reasons, _ = read(written(tmp_path / "night.tgz", tail.getvalue()))
    assert (sources, reasons) == (["0.avro"], [Rejection.CORRUPT])


@pytest.mark.parametrize("compress", COMPRESSIONS.values())
def test_streams_put_together(tmp_path: Path, compress) -> None:
    """Compressed streams with padding between and behind them are read whole; anything else there is a rejection."""
    tar = tar_of(*(member(f"{i}.avro") for i in range(3)))
    parts = [compress(part) for part in (tar[:60_000], b"", tar[60_000:])]
    path = written(tmp_path / "night.tar.x", bytes(8).join(parts) + bytes(100_000))
    assert read(path) == (["0.avro", "1.avro", "2.avro"], [], {})
    for tail in (b"garbage", parts[0][:100], parts[0][:40] + bytes(100)):
        assert read(written(path, b"".join(parts) + tail))[1] == [Rejection.CORRUPT]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda whole: whole[:-8] + bytes(8), id="checksum and length"),
        pytest.param(lambda whole: whole[:-4] + bytes(4), id="length"),
        pytest.param(lambda whole: whole[:-8], id="no trailer"),
        pytest.param(lambda whole: whole[:-3], id="half a trailer"),
        pytest.param(lambda whole: whole + b"GARBAGE" * 20, id="something added"),
        pytest.param(lambda whole: whole + whole[:9], id="half a header added"),
        pytest.param(lambda whole: whole + b"\x1f\x8b\x07" + whole[3:], id="another method added"),
    ],
)
def test_a_damaged_end_costs_no_sound_alert(tmp_path: Path, damage) -> None:
    """Of a gzip file whose trailer lies, or that something was added to, all alerts are read and the damage is told."""
    whole = gzip.compress(tar_of(*(member(f"{i}.avro") for i in range(3))))
    path = written(tmp_path / "night.tar.gz", damage(whole))
    assert read(path) == (["0.avro", "1.avro", "2.avro"], [Rejection.CORRUPT], {})


@pytest.mark.parametrize("flags", range(32))
def test_headers_of_gzip(tmp_path: Path, flags: int) -> None:
    """Whatever a header announces is passed over."""
    plain = gzip.compress(ALERT)
    announced = [(4, b"\x03\0abc"), (8, b"name\0"), (16, b"comment\0"), (2, b"xx")]
    told = b"".join(value for flag, value in announced if flags & flag)
    header = plain[:3] + bytes([flags]) + plain[4:10] + told
    assert read(written(tmp_path / "0.avro.gz", header + plain[10:])) == ([""], [], {})


def test_a_dictionary_as_large_as_the_memory(tmp_path: Path) -> None:
    """An xz file whose header asks for 4 GiB is refused by that, one of xz -9 is read."""
    packed = bytearray(lzma.compress(ALERT, preset=9))
    assert read(written(tmp_path / "0.avro.xz", bytes(packed)))[0] == [""]
    end = 12 + 4 * (packed[12] + 1)  # of the block's header, which ends with its checksum
    packed[16] = 40  # the dictionary's size
    packed[end - 4 : end] = zlib.crc32(bytes(packed[12 : end - 4])).to_bytes(4, "little")
    (rejected,) = read_messages([written(tmp_path / "0.avro.xz", bytes(packed))])
    assert isinstance(rejected, Rejected)
    assert "Memory usage limit" in rejected.detail


ZEROS = bz2.compress(bytes(64 << 20))  # in 100 bytes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README", "1.avro"])
def test_a_member_that_inflates_without_end(tmp_path: Path, name: str) -> None:
    """Zeros by the gigabyte are not inflated to their end; what stands before is read, the reason names the remedy."""
    body = ALERT + bytes(-len(ALERT) % 512)
    start = member("0.avro").tobuf() + body + member(name, size=1 << 32).tobuf(tarfile.GNU_FORMAT)
    path = written(tmp_path / "night.tar.bz2", bz2.compress(start) + ZEROS * 20)
    begun_s = time.process_time()
    *found, last = read_messages([path])
    assert time.process_time() - begun_s < 3
    assert isinstance(found[0], Message)
    assert isinstance(last, Rejected)
    assert last.reason == Rejection.CORRUPT
    assert "inflate the file first" in last.detail


def test_many_members_that_inflate(tmp_path: Path) -> None:
    """What many compressed members inflate to is bounded together; a sound one behind them is read."""
    bombs = [(member(f"{i}.avro.bz2"), ZEROS) for i in range(20)]
    tar = tar_of(*bombs, (member("sound.avro.gz"), gzip.compress(ALERT)))
    sources, reasons, _ = read(written(tmp_path / "night.tar", tar))
    assert (sources, len(reasons)) == (["sound.avro.gz"], 20)
    assert reasons[0] == Rejection.TOO_LARGE
    assert reasons[-1] == Rejection.CORRUPT


def test_blocks_that_say_they_hold_nothing(tmp_path: Path) -> None:
    """A container of thousands of blocks of no record is one rejection, however long the blocks are."""
    sync = bytes(range(16))
    head = write_header(json.dumps(ztf_schema()).encode(), sync)
    path = written(tmp_path / "0.avro", head + write_block(0, bytes(1_000), sync) * 5_000)
    (message,) = read_messages([path])
    assert isinstance(message, Message)
    assert len(message.value) > 1_000_000
    assert read(path)[0] == []


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_crumbs_with_a_schema_of_a_megabyte(tmp_path: Path, codec: str) -> None:
    """Thousands of small blocks, compressed or not, are not each made a message with the whole schema."""
    fields = [{"name": "data", "type": "bytes", "doc": "x" * 900_000}]
    schema = {"type": "record", "name": "r", "fields": fields}
    content = container(schema, [{"data": bytes(40 if codec == "null" else 400)}] * 2_000, codec=codec, sync_interval=1)
    messages = list(read_messages([written(tmp_path / "0.avro", content)]))
    assert len(messages) < 100


def test_headers_upon_headers(tmp_path: Path) -> None:
    """Thousands of extended headers for one member are a rejection, not an endless descent."""
    record = b"11 comment=\n"[:11] + b"\n"
    header = member("pax", tarfile.XHDTYPE, size=len(record)).tobuf() + record.ljust(512, b"\0")
    tar = member("0.avro").tobuf() + ALERT + bytes(-len(ALERT) % 512) + header * 5_000 + bytes(1_024)
    sources, reasons, _ = read(written(tmp_path / "night.tar", tar))
    assert (sources, reasons) == (["0.avro"], [Rejection.CORRUPT])


@pytest.mark.parametrize("kind", ["pax", "gnu"])
def test_the_map_of_a_sparse_member_without_end(tmp_path: Path, kind: str) -> None:
    """A map of millions of holes is refused by its length, in either of its forms; what came before it is read."""
    if kind == "pax":
        sparse = member("sparse.avro")
        sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        holes = b"2000000\n" + b"0\n" * 4_000_000
        sparse.size = len(holes)
        content = sparse.tobuf(tarfile.PAX_FORMAT) + holes + bytes(-len(holes) % 512)
    else:
        head = bytearray(member("sparse.avro", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
        head[482] = 1  # the map goes on in the next block
        head[148:156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:]))
        content = bytes(head) + (b"00000000000\0" * 42 + b"\1" + bytes(7)) * 16_000
    before = tar_of(member("0.avro"))[: 512 + -(-len(ALERT) // 512) * 512]
    path = written(tmp_path / "night.tar.gz", gzip.compress(before + content))
    begun_s = time.process_time()
    alerts, rejected, _ = read(path)
    assert (len(alerts), rejected) == (1, [Rejection.CORRUPT])
    assert time.process_time() - begun_s < 5


def test_other_archives_are_refused_by_name(tmp_path: Path) -> None:
    """A zip says that it is one and what to do, in a folder too."""
    path = tmp_path / "night.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0.avro", ALERT)
    for place in (path, tmp_path):
        (rejected,) = read_messages([place])
        assert isinstance(rejected, Rejected)
        assert rejected.reason == Rejection.NOT_AVRO
        assert "zip archives are not read; unpack it" in rejected.detail


@pytest.mark.parametrize("tail", [b"garbage", bytes(100), gzip.compress(b"")])
def test_what_follows_a_gzip_member(tmp_path: Path, tail: bytes) -> None:
    """Padding is nothing; garbage behind the compressed alert costs at most that file and is told."""
    sources, reasons, _ = read(written(tmp_path / "0.avro.gz", gzip.compress(ALERT) + tail))
    assert (len(sources) == 1 and not reasons) or reasons == [Rejection.CORRUPT]
    if tail == b"garbage":
        assert reasons == [Rejection.CORRUPT]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """Bytes in a member's name that are none of UTF-8 stand as escapes wherever the name goes."""
    info = member("x.avro")
    head = info.tobuf().replace(b"x.avro", b"\xff.avro")
    head = bytearray(head)
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:512]))
    tar = bytes(head) + ALERT + bytes(-len(ALERT) % 512) + bytes(1_024)
    (source,), reasons, _ = read(written(tmp_path / "night.tar", tar))
    assert reasons == []
    assert source == "\\xff.avro"
    assert source.encode()


@pytest.mark.parametrize("codec", ["deflate", "snappy", "zstandard", "bzip2", "xz", "null"])
def test_codecs(tmp_path: Path, codec: str) -> None:
    """Blocks of every codec that fastavro writes are read, many records in a block and many blocks."""
    records = [ztf_record(candid=number) for number in range(5)]
    content = container(ztf_schema(), records, codec=codec, sync_interval=1)
    content_of_one_block = container(ztf_schema(), records, codec=codec)
    assert len(list(fastavro.reader(io.BytesIO(content)))) == 5
    for name, value in (("many.avro", content), ("one.avro", content_of_one_block)):
        assert read(written(tmp_path / name, value)) == ([""] * 5, [], {})
        assert [a.alert_id for a in read_alerts(Message(value, Origin("m")), Schemas())] == list(range(5))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_tars(tmp_path: Path, data: st.DataObject) -> None:
    """A tar with changed bytes, mostly in its headers, is read or rejected in a moment, and nothing else."""
    tar = bytearray(
        tar_of(
            (member("0.avro"), b"one"),
            member("b.avro", tarfile.SYMTYPE, "0.avro"),
            (member("n" * 150 + ".avro"), b"two"),
            (member("README"), b"text"),
        )
    )
    for _ in range(data.draw(st.integers(1, 6))):
        block = data.draw(st.integers(0, 11)) * 512
        at = block + data.draw(st.one_of(st.integers(100, 160), st.integers(0, 511)))
        tar[at] = data.draw(st.one_of(st.sampled_from(b"\x00\x2001234567xgLKSVN/\x80\xff"), st.integers(0, 255)))
        if data.draw(st.booleans()):
            head = tar[block : block + 512]
            tar[block + 148 : block + 156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:]))
    path = written(tmp_path / "mutated.tar", bytes(tar))
    begun_s = time.process_time()
    for item in read_messages([path]):
        assert isinstance(item, (Message, Rejected))
    assert time.process_time() - begun_s < 5


def test_a_gzip_header_as_long_as_a_file(tmp_path: Path) -> None:
    """The name that a gzip file has for its content may be endless: the file is refused, and the next one read."""
    plain = gzip.compress(ztf_packet())
    named = plain[:3] + b"\x08" + plain[4:10] + bytes([97]) * 1_000_000 + b"\0" + plain[10:]
    written(tmp_path / "a.avro.gz", named)
    written(tmp_path / "b.avro.gz", plain)
    alerts, rejected, _ = read(tmp_path)
    assert (len(alerts), rejected) == (1, [Rejection.CORRUPT])


@pytest.mark.parametrize(("count", "blocks"), [(0, 500_000), (1, 50_000), (900, 50)])
@pytest.mark.parametrize("schema_bytes", [0, 900_000])
def test_many_blocks_of_next_to_nothing(tmp_path: Path, count: int, blocks: int, schema_bytes: int) -> None:
    """A small file does not become thousands of rejections, nor gigabytes of copies of its schema: it is one."""
    schema, sync = json.dumps(ztf_schema() | {"doc": "x" * schema_bytes}).encode(), bytes(range(16))
    content = write_header(schema, sync) + write_block(count, bytes(count), sync) * blocks
    items = list(read_messages([written(tmp_path / "a.avro", content)], LeftOutCounts()))
    assert len(items) == 1
    assert sum(len(item.value) for item in items if isinstance(item, Message)) < (128 << 20)


def test_few_crumbs_are_messages(tmp_path: Path) -> None:
    """Some records too small to be alerts are told one by one, in the order of the file, as others among them are."""
    sync = bytes(range(16))
    schema = {"type": "record", "name": "r", "fields": [{"name": "data", "type": "bytes"}]}
    crumbs, large = write_block(2, bytes(2), sync), write_block(1, b"\xc8\x01" + bytes(100), sync)
    content = write_header(json.dumps(schema).encode(), sync) + crumbs + large + crumbs
    indices = [item.origin.offset for item in read_messages([written(tmp_path / "a.avro", content)])]
    assert indices == [0, 1, 2, 3, 4]


def test_many_links_to_many_alerts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many messages are read through links as links are followed; the rest is counted."""
    monkeypatch.setattr(tars, "MOST_LINKS", 10)
    records = [ztf_record(candid=number, previous=0, stamps={}) for number in range(4)]
    content = container(ztf_schema(), records)
    links = [member(f"{number}.avro", tarfile.LNKTYPE, "all.avro") for number in range(3)]
    alerts, rejected, left_out = read(written(tmp_path / "a.tar", tar_of((member("all.avro"), content), *links)))
    assert (len(alerts) <= 4 + 10, rejected, left_out) == (True, [], {"link_broken": 3})
