"""Targets of attacks: each makes one hostile input from a random source and tries it.

A finding is an exception that is no answer of ours, a rejection as ``internal``, a value that differs from the
reference library's, or an input that takes longer than ``LONGEST_S``. The same targets serve the tests, in which
hypothesis is the random source, and ``make fuzz``.
"""

import copy
import gzip
import io
import itertools
import math
import tarfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from typing import Any

import fastavro
import numpy as np
from astropy.io import fits
from packets import container, fits_bytes, lsst_packet, sky, varint, ztf_record, ztf_schema, ztf_stamp

from broker_filter.alerts.decode import Decoder, connect
from broker_filter.alerts.fits import BadFitsError, primary_image
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive.inspect import describe, inspect
from broker_filter.archive.left_out import LeftOutCounts
from broker_filter.archive.read import read_messages
from broker_filter.avro.parse import parse_tree
from broker_filter.avro.projection import compile_reader, compile_skipper
from broker_filter.errors import RejectedAlertError, Rejection
from broker_filter.records import Message, Origin, Rejected
from model.printable import printable_json
from model.series import BANDS

LONGEST_S = 5.0
FIELDS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
NUMBERS = (0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 1e10, 2_459_433.5, 61_100.0)
INTEGERS = (0, 1, -1, 2, 3, 127, 128, 255, 2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63))
TEXTS = ("", "t", "f", "1", "ZTF", "ZTF\x1b[2J", "[/]", "g", "é", "\0", "a" * 300, "\u202e", "ZTF" + "x" * 250, "null")


class FindingError(AssertionError):
    """An input was not answered as it must be."""


@dataclass(frozen=True)
class Card:
    """What the decoder reads of a network's card."""

    channels: tuple[str, ...] = ("science", "template", "difference")
    size_px: int = 32
    bands: str = BANDS
    history_limit: int = 16


@lru_cache
def decoder() -> Decoder:
    """The decoder of real packets of both surveys."""
    return connect(Schemas(), {"ztf": Card(), "lsst": Card()}, 1)  # type: ignore[dict-item]


def answer(value: bytes) -> str:
    """Decode a message; how it was answered."""
    begun_s = time.process_time()
    results = decoder().decode([Message(value, Origin("fuzz"))])
    check_time(begun_s)
    for result in results:
        if isinstance(result, Rejected) and result.reason == Rejection.INTERNAL:
            raise FindingError(f"{result.exception}: {result.detail}")
    if not results:
        raise FindingError("no answer")
    return "rejected" if all(isinstance(result, Rejected) for result in results) else "read"


def check_time(begun_s: float) -> None:
    if (took_s := time.process_time() - begun_s) > LONGEST_S:
        raise FindingError(f"took {took_s:.1f} s")


def mutated(content: bytes, rng: Random, most: int = 4) -> bytes:
    """Content with bytes changed, cut, doubled, put in or taken out."""
    changed = bytearray(content)
    for _ in range(rng.randint(0, most)):
        at, size = rng.randrange(len(changed) + 1), rng.choice((1, 1, 1, 2, 4, 16, 200))
        match rng.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del changed[at : at + size]
            case 2:
                changed[at:at] = changed[at : at + size]
            case 3:
                changed[at:at] = varint(rng.choice(INTEGERS)) if rng.random() < 0.5 else rng.randbytes(size)
            case 4:
                changed[at : at + 1] = rng.choice((b"\0", b"\1", b"\2", b"\x7f", b"\x80", b"\xff"))
            case _ if rng.random() < 0.2:
                del changed[at:]
    return bytes(changed)


def odd_value(rng: Random, depth: int = 0) -> Any:
    """A value that a sender may choose."""
    kinds: list[Callable[[], Any]] = [
        lambda: None,
        lambda: rng.choice(NUMBERS),
        lambda: rng.choice(INTEGERS),
        lambda: rng.choice(TEXTS),
        lambda: rng.random() < 0.5,
        lambda: rng.randbytes(rng.randrange(20)),
    ]
    if depth < 2:
        kinds += [
            lambda: [odd_value(rng, 2)] * rng.randrange(3),
            lambda: {rng.choice(("a", "stampData", "jd")): odd_value(rng, depth + 1)},
        ]
    return rng.choice(kinds)()


def type_of(value: Any) -> Any:  # noqa: PLR0911 - one for each kind
    """An Avro type that holds a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "long"
        case float():
            return "double"
        case str():
            return "string"
        case bytes():
            return "bytes"
        case list():
            return {"type": "array", "items": type_of(value[0]) if value else "null"}
    fields = [{"name": name, "type": type_of(inner)} for name, inner in value.items()]
    return {"type": "record", "name": f"r{abs(hash(str(value)))}", "fields": fields}


@lru_cache
def sound_stamp(seed: int, kind: str) -> bytes:
    """A FITS file of a sky with holes."""
    holes = np.random.default_rng(seed).random((63, 63)) < 0.1
    return fits_bytes(np.where(holes, np.nan, sky(seed, 63)).astype(kind))


@lru_cache
def sound_ztf_stamp(seed: int) -> bytes:
    """A stamp as ZTF writes it."""
    return ztf_stamp(sky(seed, 63))


def stamp(rng: Random) -> bytes | None:
    """A stamp that is sound, broken, of another kind, or none."""
    seed, plain = rng.randrange(5), sound_stamp(rng.randrange(5), rng.choice(("f4", "f8")))
    match rng.randrange(6):
        case 0:
            return None
        case 1:
            return sound_ztf_stamp(seed)
        case 2:
            return mutated(gzip.compress(plain), rng)
        case 3:
            return rng.choice((b"", b"\xff\xd8\xff\xe0", b"SIMPLE", b"\x1f\x8b", rng.randbytes(50)))
    broken = mutated(plain[:2880], rng) + plain[2880:]
    return gzip.compress(broken) if rng.random() < 0.7 else broken


def ztf_structure(rng: Random) -> str:
    """A ZTF packet of which fields are missing, null, of another type or out of all bounds."""
    schema, stamps = copy.deepcopy(ztf_schema()), {name: stamp(rng) for name in FIELDS}
    record = ztf_record(previous=rng.randrange(4), stamps=stamps)
    for _ in range(rng.randint(0, 4)):
        places: list[tuple[dict[str, Any], dict[str, Any]]] = [(record, schema)]
        if isinstance(record.get("candidate"), dict):
            places.append((record["candidate"], _type_of_field(schema, "candidate")))
        holder, kind = rng.choice([place for place in places if place[1]["fields"]])
        index = rng.randrange(len(kind["fields"]))
        field = kind["fields"][index]
        if rng.random() < 0.25:
            holder.pop(field["name"], None)
            del kind["fields"][index]
        else:
            value = odd_value(rng)
            holder[field["name"]] = value
            if isinstance(field["type"], (str, dict)) or rng.random() < 0.5:
                kind["fields"][index] = {"name": field["name"], "type": type_of(value)}
    try:
        return answer(container(schema, [record], codec=rng.choice(("null", "deflate", "snappy", "zstandard"))))
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        fastavro.schema.SchemaParseException,
    ) as error:
        if isinstance(error, FindingError):
            raise
        return "not made"  # fastavro does not write it


def _type_of_field(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    for field in schema["fields"]:
        if field["name"] == name and isinstance(field["type"], dict) and "fields" in field["type"]:
            return field["type"]
    return {"fields": [{"name": "none", "type": "null"}]}


def lsst_values(rng: Random) -> str:
    """An LSST packet with any value of each field's own type, a past of its own, and broken stamps."""

    def source() -> dict[str, Any]:
        numbers = ("psfFlux", "psfFluxErr", "midpointMjdTai", "timeWithdrawnMjdTai", "reliability", "ra", "dec", "snr")
        values: dict[str, Any] = {name: rng.choice(NUMBERS) for name in numbers if rng.random() < 0.3}
        flags = ("psfFlux_flag", "shape_flag", "isDipole")
        values |= {name: rng.choice((None, True, False)) for name in flags if rng.random() < 0.3}
        return values | ({"band": rng.choice((*BANDS, *TEXTS))} if rng.random() < 0.3 else {})

    lists = {name: [source() for _ in range(rng.randrange(5))] for name in ("sources", "forced")}
    lists["forced"] = [
        {k: v for k, v in one.items() if k in ("psfFlux", "psfFluxErr", "midpointMjdTai", "band")}
        for one in lists["forced"]
    ]
    stamps = {name: stamp(rng) for name in FIELDS}
    version = rng.choice(((7, 0), (8, 0), (9, 0), (10, 0)))
    own = source() if version >= (9, 0) else {}
    own.pop("timeWithdrawnMjdTai", None) if rng.random() < 0.7 else None
    try:
        packet = lsst_packet(
            object_id=rng.choice((None, 0, 5, 2**63 - 1)), version=version, stamps=stamps, **lists, **own
        )
    except (ValueError, TypeError, KeyError, OverflowError):
        return "not made"
    return answer(mutated(packet, rng, 2) if rng.random() < 0.3 else packet)


@lru_cache
def seeds() -> tuple[bytes, ...]:
    """Sound packets of both surveys and every codec."""
    records = [ztf_record(candid=n, previous=3) for n in range(3)]
    made = [container(ztf_schema(), records, codec=codec) for codec in ("null", "deflate", "snappy", "bzip2", "xz")]
    return (*made, container(ztf_schema("1.8"), [ztf_record(schemavsn="1.8")]), lsst_packet(history=3))


def packet_bytes(rng: Random, further: tuple[bytes, ...] = ()) -> str:
    """A packet with bytes changed, moved, cut or put in."""
    return answer(mutated(rng.choice(seeds() + further), rng, 6))


def avro_types(rng: Random, number: Iterator[int], depth: int = 0) -> Any:
    """A type of Avro, its names numbered, each one new; items of arrays take at least a byte."""
    plain = ("boolean", "int", "long", "float", "double", "bytes", "string")
    kind = rng.randrange(6) if depth < 3 else 0
    name = f"n{next(number)}"
    if kind == 1:
        fields = [{"name": f"f{n}", "type": avro_types(rng, number, depth + 1)} for n in range(rng.randint(1, 5))]
        return {"type": "record", "name": name, "fields": fields}
    if kind == 2:
        return {"type": rng.choice(("array", "map")), **dict.fromkeys(("items", "values"), avro_types(rng, number, 3))}
    if kind == 3:
        return ["null", avro_types(rng, number, 3)]
    if kind == 4:
        return rng.choice(
            ({"type": "enum", "name": name, "symbols": ["A", "B"]}, {"type": "fixed", "name": name, "size": 3})
        )
    return rng.choice(plain)


def avro_value(kind: Any, rng: Random) -> Any:  # noqa: PLR0911 - one for each kind
    """A value of a type."""
    if isinstance(kind, list):
        return None if rng.random() < 0.4 else avro_value(kind[1], rng)
    if isinstance(kind, dict):
        match kind["type"]:
            case "record":
                return {field["name"]: avro_value(field["type"], rng) for field in kind["fields"]}
            case "array":
                return [avro_value(kind["items"], rng) for _ in range(rng.randrange(4))]
            case "map":
                return {f"k{n}": avro_value(kind["values"], rng) for n in range(rng.randrange(4))}
            case "enum":
                return rng.choice(kind["symbols"])
        return rng.randbytes(kind["size"])
    return {
        "boolean": lambda: rng.random() < 0.5,
        "int": lambda: rng.randint(-(2**31), 2**31 - 1),
        "long": lambda: rng.choice(INTEGERS),
        "float": lambda: float(np.float32(rng.choice(NUMBERS[:7]))),
        "double": lambda: rng.choice(NUMBERS),
        "bytes": lambda: rng.randbytes(rng.randrange(200)),
        "string": lambda: rng.choice(TEXTS),
    }[kind]()


def avro_data(rng: Random) -> str:
    """A datum of a random schema, sound or changed: what is read is what fastavro reads."""
    number = itertools.count()
    fields = [{"name": f"f{n}", "type": avro_types(rng, number)} for n in range(rng.randint(1, 6))]
    schema = {"type": "record", "name": "top", "fields": fields}
    out = io.BytesIO()
    parsed = fastavro.parse_schema(copy.deepcopy(schema))
    fastavro.schemaless_writer(out, parsed, avro_value(schema, rng))
    sound, changed = out.getvalue(), mutated(out.getvalue(), rng, 3)
    ours = parse_tree(schema)
    begun_s = time.process_time()
    wanted = {field["name"]: None for field in fields if rng.random() < 0.7}
    try:
        value = compile_reader(ours, dict.fromkeys(field["name"] for field in fields))(changed)
        part, end = compile_reader(ours, wanted)(changed), compile_skipper(ours)(changed, 0)
    except RejectedAlertError as error:
        if changed == sound:
            raise FindingError(f"a sound datum is refused: {error}") from error
        return "rejected"
    finally:
        check_time(begun_s)
    stream = io.BytesIO(changed)
    try:
        expected: Any = fastavro.schemaless_reader(stream, parsed)
    except Exception as error:
        raise FindingError(f"fastavro refuses what we read: {type(error).__name__}: {error}") from error
    if repr(value) != repr(expected) or end != stream.tell() != len(changed):
        raise FindingError(f"{value!r} differs from fastavro's {expected!r}")
    if repr(part) != repr({name: expected[name] for name in part}):
        # An array's block may lie about its size in bytes: who skips it believes that, who reads it counts its items.
        chosen = {**schema, "fields": [field for field in fields if field["name"] in wanted]}
        skipped = fastavro.schemaless_reader(io.BytesIO(changed), parsed, fastavro.parse_schema(copy.deepcopy(chosen)))
        if repr(part) != repr(skipped):
            raise FindingError(f"chosen fields {part!r} differ from {skipped!r}, and from {expected!r}")
    return "read"


def fits_headers(rng: Random) -> str:
    """A FITS file with odd cards: where we and astropy both read it, the pixels are the same."""
    bitpix = rng.choice((8, 16, 32, 64, -32, -64))
    height, width = rng.randint(1, 9), rng.randint(1, 9)
    kinds = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
    pixels = np.random.default_rng(rng.randrange(99)).normal(50, 20, (height, width)).astype(kinds[bitpix])
    values = ["T", str(bitpix), "2", str(width), str(height)]
    cards = [
        f"{name:<8}= {value:>20}"
        for name, value in zip(("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2"), values, strict=True)
    ]
    for _ in range(rng.randrange(5)):
        name = rng.choice(("BSCALE", "BZERO", "BLANK", "COMMENT", "HISTORY", "EXTEND", "CRVAL1", "BSCALE1", ""))
        number = rng.choice(
            ("1", "1.0", "0.0", "1000", "-2.5E1", "3.D0", "''", "T", "1 / BZERO   = 3", "nan", "--1", "1e5")
        )
        cards.append(f"{name:<8}= {number:>20}" if rng.random() < 0.8 else f"{name:<8}{number} BSCALE  = 7")
    header = "".join(card[:80].ljust(80) for card in (*cards, "END")).encode()
    content = header.ljust(-(-len(header) // 2880) * 2880) + pixels.tobytes()
    if rng.random() < 0.3:
        content = mutated(content[: len(header)], rng, 2) + content[len(header) :]
    content += bytes(-len(content) % 2880)
    begun_s = time.process_time()
    try:
        ours = primary_image(content, 127)
    except BadFitsError:
        return "rejected"
    finally:
        check_time(begun_s)
    theirs = _by_astropy(content)
    if theirs is not None and theirs.shape == ours.shape and not np.array_equal(theirs, ours, equal_nan=True):
        raise FindingError(f"pixels differ from astropy's: {cards}")
    return "read"


def _by_astropy(content: bytes) -> np.ndarray | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with fits.open(io.BytesIO(content), memmap=False, uint=False, ignore_missing_simple=True) as units:
                return None if units[0].data is None else np.asarray(units[0].data)
        except Exception:  # whatever it says of a broken header
            return None


def tars(rng: Random, folder: Path) -> str:
    """A tar with odd members and changed headers: it ends in a moment and every answer can be written."""
    out = io.BytesIO()
    names = [f"{n}{rng.choice(('.avro', '.AVRO', '.avro.gz', '.txt', '.tar', '[red].avro'))}" for n in range(4)]
    names.append("a/" * rng.randrange(120) + rng.choice(("x.avro", "\x1b[2J.avro", "\udcff.avro", "../../x.avro")))
    kinds = (tarfile.REGTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
    form = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = rng.choice(kinds), rng.choice((*names, "/etc/passwd", "..", ""))
            content = (
                rng.choice((b"text", gzip.compress(b"text"), seeds()[0][:2000], seeds()[-1])) if info.isreg() else b""
            )
            info.size = len(content)
            if form == tarfile.PAX_FORMAT and rng.random() < 0.5:
                odd = rng.choice(("-1", "99999999999999999999", "1e3", "0", "3"))
                info.pax_headers = {rng.choice(("size", "path", "mtime", "GNU.sparse.map", "GNU.sparse.major")): odd}
            try:
                tar.addfile(info, io.BytesIO(content))
            except ValueError:
                continue
    content = bytearray(out.getvalue())
    for _ in range(rng.randrange(4)):
        block = rng.randrange(len(content) // 512) * 512
        at = block + rng.choice((rng.randrange(512), rng.randrange(100, 160), 156, 124))
        content[at] = rng.choice(b"\x00\x2001234567xgLKSVN/\x80\xff-9")
        if rng.random() < 0.7:
            head = content[block : block + 512]
            content[block + 148 : block + 156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:]))
    value = bytes(content) if rng.random() < 0.6 else gzip.compress(bytes(content), 1)
    path = folder / "fuzz.tar"
    path.write_bytes(mutated(value, rng, 1) if rng.random() < 0.2 else value)
    begun_s, left_out, good = time.process_time(), LeftOutCounts(), 0
    for item in read_messages([path], left_out):
        good += isinstance(item, Message)
        (item if isinstance(item, Message) else item.message).origin.source.encode()
    str(left_out).encode()
    check_time(begun_s)
    return "read" if good else "rejected"


def inspected(rng: Random, folder: Path) -> str:
    """A file as a person looks at it: every record is described in a line that can be seen."""
    import orjson

    path = folder / f"fuzz{rng.choice(('.avro', '[red].avro', '.avro.gz', '.tar'))}"
    odd_id = "ZTF" + rng.choice(TEXTS)
    packet = rng.choice((container(ztf_schema(), [ztf_record(object_id=odd_id)]), mutated(rng.choice(seeds()), rng)))
    path.write_bytes(packet)
    begun_s, read = time.process_time(), 0
    for seen in inspect([path]):
        line = printable_json(orjson.dumps(describe(seen)).decode())
        if not line.isprintable():
            raise FindingError(f"a line with what cannot be seen: {line!r}")
        if seen.error is not None and seen.error.reason == Rejection.INTERNAL:
            raise FindingError(seen.error.detail)
        read += seen.alert is not None
    path.unlink()
    check_time(begun_s)
    return "read" if read else "rejected"


def targets(folder: Path, further: tuple[bytes, ...] = ()) -> dict[str, Callable[[Random], str]]:
    """Every target by its name.

    Parameters
    ----------
    folder
        For the files of those that need some.
    further
        Packets to change beside our own, for instance real ones.
    """
    return {
        "ZTF packets: fields missing, null, of other types, out of bounds": ztf_structure,
        "LSST packets: any value of each type, broken stamps": lsst_values,
        "packets: bytes changed, cut, doubled, put in": partial(packet_bytes, further=further),
        "Avro data of random schemas, beside fastavro": avro_data,
        "FITS headers, beside astropy": fits_headers,
        "tar archives: members, links, sizes, headers": partial(tars, folder=folder),
        "files as ictc-inspect shows them": partial(inspected, folder=folder),
    }
