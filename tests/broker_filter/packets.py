"""Well-formed packets of both surveys, written by the libraries that brokers use: fastavro and astropy.

Nothing here is taken from a survey but the names and types of fields, so that tests pass without real data.
"""

import gzip
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
from astropy.io import fits
from fastavro.schema import load_schema
from numpy.typing import NDArray

ZTF_SIDE, LSST_SIDE = 63, 30
_CUTOUT = "ztf.alert.cutout"


def _optional(names: str, kind: str) -> list[dict[str, Any]]:
    return [{"name": name, "type": ["null", kind], "default": None} for name in names.split()]


def _required(names: str, kind: str) -> list[dict[str, Any]]:
    return [{"name": name, "type": kind} for name in names.split()]


def ztf_schema(schemavsn: str = "4.02") -> dict[str, Any]:
    """Return a schema with the shape of ZTF's: of 1.8 without version, zero point and forced photometry."""
    old = schemavsn.startswith("1.")
    candidate = [
        *_required("jd", "double"),
        *_required("fid", "int"),
        *_required("pid", "long"),
        *_optional("diffmaglim", "float"),
        *_optional("pdiffimfilename programpi", "string"),
        *_required("programid", "int"),
        *_required("candid", "long"),
        *_required("isdiffpos", "string"),
        *_optional("tblid", "long"),
        *_optional("nid rcid field", "int"),
        *_optional("xpos ypos", "float"),
        *_required("ra dec", "double"),
        *_required("magpsf sigmapsf", "float"),
        *_optional("chipsf fwhm rb ssdistnr ssmagnr", "float"),
        *_optional("ssnamenr", "string"),
        *([] if old else [*_optional("magzpsci drb exptime", "float"), *_optional("drbversion", "string")]),
    ]
    previous = [
        *_required("jd", "double"),
        *_required("fid", "int"),
        *_required("pid", "long"),
        *_optional("diffmaglim", "float"),
        *_optional("pdiffimfilename", "string"),
        *_optional("candid", "long"),
        *_optional("isdiffpos", "string"),
        *_optional("ra dec", "double"),
        *_optional("magpsf sigmapsf magzpsci", "float"),
    ]
    forced = [
        *_required("fid", "int"),
        *_required("jd", "double"),
        *_optional("forcediffimflux forcediffimfluxunc magzpsci", "float"),
        *_optional("procstatus", "string"),
    ]

    def record(name: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
        return {"type": "record", "name": name, "namespace": "ztf.alert", "version": schemavsn, "fields": fields}

    def array(name: str, fields: list[dict[str, Any]]) -> list[Any]:
        return ["null", {"type": "array", "items": record(name, fields)}]

    cutout = record("cutout", [*_required("fileName", "string"), *_required("stampData", "bytes")])
    fields = [
        *([] if old else _required("schemavsn publisher", "string")),
        *_required("objectId", "string"),
        *_required("candid", "long"),
        {"name": "candidate", "type": record("candidate", candidate)},
        {"name": "prv_candidates", "type": array("prv_candidate", previous), "default": None},
        *([] if old else [{"name": "fp_hists", "type": array("fp_hist", forced), "default": None}]),
        {"name": "cutoutScience", "type": ["null", cutout], "default": None},
        {"name": "cutoutTemplate", "type": ["null", _CUTOUT], "default": None},
        {"name": "cutoutDifference", "type": ["null", _CUTOUT], "default": None},
    ]
    return {"type": "record", "name": "alert", "namespace": "ztf.alert", "version": schemavsn, "fields": fields}


def sky(seed: int, side: int, height: int | None = None) -> NDArray[np.float32]:
    """Return a noisy sky with a star in its centre."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((height or side, side))
    star = 500.0 * np.exp(-((x - side // 2) ** 2 + (y - (height or side) // 2) ** 2) / 6.0)
    return (rng.normal(100.0, 5.0, star.shape) + star).astype(np.float32)


def fits_bytes(pixels_HW: NDArray[Any], *, extensions: bool = False) -> bytes:
    """Write a FITS file as astropy does; with the variance and the PSF behind it, as LSST does."""
    hdus: list[Any] = [fits.PrimaryHDU(pixels_HW)]
    hdus[0].header["BUNIT"] = "nJy" if extensions else "DN"
    if extensions:
        hdus += [
            fits.ImageHDU(np.ones_like(pixels_HW), name="UNCERT"),
            fits.ImageHDU(np.ones((41, 41)), name="PSFIMAGE"),
        ]
    out = io.BytesIO()
    fits.HDUList(hdus).writeto(out)
    return out.getvalue()


def ztf_stamp(pixels_HW: NDArray[Any]) -> bytes:
    """Write a stamp as ZTF does: gzipped, the value of SIMPLE in the wrong column."""
    content = bytearray(fits_bytes(pixels_HW))
    content[:80] = b"SIMPLE  =  T".ljust(80)
    return gzip.compress(bytes(content), mtime=0)


def ztf_stamps(seed: int = 1) -> dict[str, bytes | None]:
    """Return the bytes of three stamps by the field's name."""
    names = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
    return {name: ztf_stamp(sky(seed + i, ZTF_SIDE)) for i, name in enumerate(names)}


def ztf_record(
    *,
    object_id: str = "ZTF21aaaaaaa",
    candid: int = 1_680_370_840_815_015_009,
    schemavsn: str = "4.02",
    previous: int | Sequence[Mapping[str, Any]] = 5,
    stamps: Mapping[str, bytes | None] | None = None,
    **candidate: Any,
) -> dict[str, Any]:
    """Return one record; ``previous`` epochs, or these; further arguments set fields of its candidate."""
    jd = candidate.get("jd", 2_459_433.87)
    filled = {
        **{"jd": jd, "fid": 1, "pid": 12, "programid": 1, "candid": candid, "isdiffpos": "t", "ra": 10.5, "dec": -3.25},
        **{"magpsf": 18.5, "sigmapsf": 0.1, "rb": 0.5, "drb": 0.9, "magzpsci": 26.3, "nid": 1680, "ssdistnr": -999.0},
        **candidate,
    }
    history = [
        {"jd": jd - days, "fid": 1 + days % 2, "pid": days, "diffmaglim": 20.0 + 0.1 * days}
        | ({"candid": candid - days, "isdiffpos": "t", "magpsf": 19.0, "sigmapsf": 0.2} if days % 2 else {})
        for days in (range(1, previous + 1) if isinstance(previous, int) else ())
    ]
    if not isinstance(previous, int):
        empty = {"jd": jd, "fid": 1, "pid": 1}
        history = [empty | dict(epoch) for epoch in previous]
    stamps = ztf_stamps() if stamps is None else stamps
    return {
        "schemavsn": schemavsn,
        "publisher": "tests",
        "objectId": object_id,
        "candid": candid,
        "candidate": filled,
        "prv_candidates": history or None,
        **{
            name: None if content is None else {"fileName": "stamp.fits.gz", "stampData": content}
            for name, content in stamps.items()
        },
    }


def container(schema: dict[str, Any], records: Sequence[Mapping[str, Any]], **options: Any) -> bytes:
    """Write an object container; options are fastavro's, for instance codec and sync_interval."""
    out = io.BytesIO()
    fastavro.writer(out, schema, records, sync_marker=bytes(range(16)), **options)
    return out.getvalue()


def ztf_packet(**fields: Any) -> bytes:
    """Write one message as ZTF does; the arguments are those of ``ztf_record``."""
    return container(ztf_schema(fields.get("schemavsn", "4.02")), [ztf_record(**fields)])


@lru_cache
def lsst_schema(major: int = 10, minor: int = 0) -> Any:
    """Return the survey's own schema."""
    folder = Path(str(files("lsst.alert.packet"))) / "schema" / str(major) / str(minor)
    return load_schema(str(folder / f"lsst.v{major}_{minor}.alert.avsc"))


def blank(schema: Any) -> Any:
    """Return the emptiest value of a type: null where it may be, else zero."""
    if isinstance(schema, list):
        return None if "null" in schema else blank(schema[0])
    if isinstance(schema, str):
        return {"string": "", "bytes": b"", "float": 0.0, "double": 0.0, "boolean": False}.get(schema, 0)
    if schema["type"] == "record":
        return {field["name"]: blank(field["type"]) for field in schema["fields"]}
    return [] if schema["type"] == "array" else blank(schema["type"])


def _inner(schema: Any, name: str) -> Any:
    """Return the record that a field of a record holds."""
    kind = next(field["type"] for field in schema["fields"] if field["name"] == name)
    for branch in kind if isinstance(kind, list) else [kind]:
        if isinstance(branch, dict):
            return branch["items"] if branch["type"] == "array" else branch
    raise KeyError(name)


def lsst_datum(
    *,
    object_id: int | None = 313_963_405_132_693_599,
    source_id: int = 170_112_044_583_354_426,
    version: tuple[int, int] = (10, 0),
    history: int = 0,
    sources: Sequence[Mapping[str, Any]] = (),
    forced: Sequence[Mapping[str, Any]] = (),
    stamps: Mapping[str, bytes | None] | None = None,
    **source: Any,
) -> bytes:
    """Write one bare datum of the survey's own schema; further arguments set fields of its diaSource.

    Of the past: ``history`` visits, each detected and forced, or these ``sources`` and ``forced`` sources.
    """
    schema = lsst_schema(*version)
    record = blank(schema)
    filled = {
        **{"diaSourceId": source_id, "visit": 7, "detector": 3, "diaObjectId": object_id, "midpointMjdTai": 61_109.25},
        **{"ra": 150.5, "dec": 3.25, "psfFlux": 3900.0, "psfFluxErr": 290.0, "reliability": 0.6, "band": "g"},
        **source,
    }
    record["diaSource"] = blank(_inner(schema, "diaSource")) | filled
    record["diaSourceId"] = source_id
    if object_id is not None:
        record["diaObject"] = blank(_inner(schema, "diaObject")) | {"diaObjectId": object_id}
    if history:
        blank_forced = blank(_inner(schema, "prvDiaForcedSources"))
        epochs = [
            {"midpointMjdTai": 61_109.25 - n, "band": "r", "psfFlux": 10.0 * n, "psfFluxErr": 5.0}
            for n in range(history)
        ]
        record["prvDiaForcedSources"] = [blank_forced | epoch for epoch in epochs]
        record["prvDiaSources"] = [record["diaSource"] | epoch | {"diaSourceId": n} for n, epoch in enumerate(epochs)]
    if sources:
        record["prvDiaSources"] = [record["diaSource"] | dict(epoch) for epoch in sources]
    if forced:
        blank_forced = blank(_inner(schema, "prvDiaForcedSources"))
        record["prvDiaForcedSources"] = [blank_forced | dict(epoch) for epoch in forced]
    names = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
    for seed, name in enumerate(names):
        content = fits_bytes(sky(seed, LSST_SIDE), extensions=True) if stamps is None else stamps[name]
        record[name] = content
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


def lsst_packet(**fields: Any) -> bytes:
    """Write one message as LSST does; the arguments are those of ``lsst_datum``."""
    major, minor = fields.get("version", (10, 0))
    return b"\x00" + (100 * major + minor).to_bytes(4, "big") + lsst_datum(**fields)


def varint(value: int) -> bytes:
    """Encode an Avro number as the specification says, independently of the program."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value & ~127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
