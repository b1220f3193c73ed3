"""A folder of alerts for the tests: real ones where they are, else simulated ones in every version of the schemas.

The stand-in has the layout of the real folder (files, manifests, pixels as astropy reads them), so that a test reads
either. What a test asserts of numbers of alerts it takes from the manifests.
"""

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
from astropy.io import fits
from fastavro.schema import load_schema
from lsst.alert.packet import get_schema_path

from model.clock import calendar_date

STAMPS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
_LATE = ("drb", "drbversion")
_ZERO_POINTS = (
    *("rbversion", "dsnrms", "ssnrms", "dsdiff", "magzpsci", "magzpsciunc", "magzpscirms", "nmatches", "clrcoeff"),
    *("clrcounc", "zpclrcov", "zpmed", "clrmed", "clrrms", "neargaia", "neargaiabright", "maggaia", "maggaiabright"),
)
# Of ZTF's versions: fields of the packet and of its candidate that they do not have yet.
ZTF_LACKS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "1.8": (("schemavsn", "publisher", "fp_hists"), (*_ZERO_POINTS, "exptime", *_LATE)),
    "3.0": (("fp_hists",), ("exptime", *_LATE)),
    "3.1": (("fp_hists",), _LATE),
    "3.2": (("fp_hists",), _LATE),
    "3.3": (("fp_hists",), ()),
    "4.01": ((), ()),
    "4.02": ((), ()),
}
LSST_VERSIONS = ((7, 0), (7, 1), (7, 2), (7, 3), (7, 4), (8, 0), (9, 0), (10, 0), (11, 0), (11, 1))
BARE_VERSION = (9, 0)


@dataclass(frozen=True)
class SurveyAlerts:
    """Alerts of both surveys with their manifests."""

    folder: Path  # what ``alerts/`` of the manifests is relative to
    real: bool

    @property
    def alerts(self) -> Path:
        """The folder with ``ztf`` and ``lsst``."""
        return self.folder / "alerts"

    @property
    def bare_schema(self) -> Path:
        """The schema of the datums that carry none."""
        return self.alerts / "lsst" / "v9_0_schemaless" / "schema.json"

    @property
    def count(self) -> int:
        """How many alerts there are; the real ones were counted by hand."""
        return 928 if self.real else len(self.rows("expected_pixels.csv"))

    @property
    def ztf_count(self) -> int:
        """How many of them are ZTF's."""
        return 817 if self.real else len(self.rows("manifest_ztf.csv"))

    def rows(self, name: str) -> list[dict[str, str]]:
        """The rows of a manifest."""
        with (self.alerts / name).open() as file:
            return list(csv.DictReader(file))


def write_stand_in(folder: Path) -> SurveyAlerts:
    """Simulated alerts: of ZTF an object's, one after the other, in version after version; of LSST one in each."""
    alerts = folder / "alerts"
    pixels: list[dict[str, Any]] = []
    _write_rows(alerts / "manifest_ztf.csv", list(_ztf_files(alerts, pixels)))
    _write_rows(alerts / "manifest_lsst.csv", list(_lsst_files(alerts, pixels)))
    _write_rows(alerts / "expected_pixels.csv", pixels)
    return SurveyAlerts(folder, real=False)


def _ztf_files(alerts: Path, pixels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    from model.simulation.alerts.night import write_night  # it imports the whole sky

    versions = list(ZTF_LACKS)
    night = list(write_night("ztf", 9, 6, seed=11))
    for number, (packet, truth) in enumerate(night):
        record: Any = next(fastavro.reader(io.BytesIO(packet)))
        version = versions[number % len(versions)]
        path = alerts / "ztf" / calendar_date(float(truth["time_mjd"])) / f"{record['candid']}.avro"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_ztf_packet(record, version))
        file = str(path.relative_to(alerts.parent))
        pixels.append({"file": file, **_pixels(gzip.decompress(record[name]["stampData"]) for name in STAMPS)})
        candidate, past = record["candidate"], record["prv_candidates"] or ()
        yield {
            "file": file,
            "schemavsn": version,
            "objectId": record["objectId"],
            "candid": record["candid"],
            "jd": repr(candidate["jd"]),
            "fid": candidate["fid"],
            "isdiffpos": candidate["isdiffpos"],
            "n_prv": len(past),
            "n_prv_det": sum(epoch["magpsf"] is not None for epoch in past),
            "known_asteroid": candidate["ssdistnr"] >= 0,
        }


def _ztf_packet(record: Mapping[str, Any], version: str) -> bytes:
    """The alert under an older version of ZTF's schema."""
    absent, candidate_lacks = ZTF_LACKS[version]
    from model.simulation.alerts.ztf import schema as ztf_schema

    schema = deepcopy(ztf_schema())
    schema.pop("__fastavro_parsed__", None)
    schema.pop("__named_schemas", None)
    schema["version"] = version
    schema["fields"] = [field for field in schema["fields"] if field["name"] not in absent]
    (candidate,) = (field["type"] for field in schema["fields"] if field["name"] == "candidate")
    candidate["fields"] = [field for field in candidate["fields"] if field["name"] not in candidate_lacks]
    changed = {**record, "schemavsn": version}
    out = io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(schema), [{k: v for k, v in changed.items() if k not in absent}])
    return out.getvalue()


def _lsst_files(alerts: Path, pixels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    from model.simulation.alerts.night import write_night

    night = list(write_night("lsst", 6, 4, seed=12))
    (major, minor), own = (10, 0), lsst_schema((10, 0))
    assert night[0][0][1:5] == (100 * major + minor).to_bytes(4, "big")
    schema_path = alerts / "lsst" / "v9_0_schemaless" / "schema.json"
    schema_path.parent.mkdir(parents=True, exist_ok=True)
    schema_path.write_text(json.dumps(lsst_schema(BARE_VERSION)), "utf-8")
    for number, (packet, _) in enumerate(night):
        record: Any = fastavro.schemaless_reader(io.BytesIO(packet[5:]), own, None)
        version = LSST_VERSIONS[number % len(LSST_VERSIONS)]
        schema = lsst_schema(version)
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, fitted(record, schema))
        head = b"\0" + (100 * version[0] + version[1]).to_bytes(4, "big")
        bare = version == BARE_VERSION
        folder = "v9_0_schemaless" if bare else f"v{version[0]}_{version[1]}_wire"
        path = alerts / "lsst" / folder / f"{record['diaSourceId']}.avro"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(out.getvalue() if bare else head + out.getvalue())
        file = str(path.relative_to(alerts.parent))
        pixels.append({"file": file, **_pixels(record[name] for name in STAMPS)})
        yield {
            "file": file,
            "schema": f"{version[0]}.{version[1]}",
            "diaSourceId": record["diaSourceId"],
            "diaObjectId": (record["diaObject"] or {}).get("diaObjectId") or 0,
            "mjd": repr(record["diaSource"]["midpointMjdTai"]),
            "band": record["diaSource"]["band"],
        }


def lsst_schema(version: tuple[int, int]) -> Any:
    """A version of LSST's alert schema, from the survey's package."""
    major, minor = version
    return load_schema(f"{get_schema_path(major, minor)}/lsst.v{major}_{minor}.alert.avsc")


def fitted(value: Any, schema: Any, names: dict[str, Any] | None = None) -> Any:
    """A value under another schema: fields that it lacks are null, zero or empty."""
    names = {} if names is None else names
    if isinstance(schema, list):
        if value is None and "null" in schema:
            return None
        return fitted(value, next(branch for branch in schema if branch != "null"), names)
    if isinstance(schema, str) and schema in names:
        schema = names[schema]
    if isinstance(schema, str):
        return {"string": "", "bytes": b"", "boolean": False}.get(schema, 0) if value is None else value
    if schema["type"] == "array":
        return [fitted(item, schema["items"], names) for item in value or ()]
    if schema["type"] != "record":
        return fitted(value, schema["type"], names)
    names[schema["name"]] = schema
    held = value or {}
    return {field["name"]: fitted(held.get(field["name"]), field["type"], names) for field in schema["fields"]}


def _pixels(contents: Iterable[bytes]) -> dict[str, Any]:
    """Shape, digest, blanks and sum of three stamps, as astropy reads them."""
    row: dict[str, Any] = {}
    for prefix, content in zip(("sci", "tem", "dif"), contents, strict=True):
        with fits.open(io.BytesIO(content), ignore_missing_simple=True) as hdus:
            image = np.asarray(hdus[0].data, "<f4")
        row |= {
            f"{prefix}_shape": "x".join(map(str, image.shape)),
            f"{prefix}_sha": hashlib.sha256(image.tobytes()).hexdigest()[:16],
            f"{prefix}_nan": int(np.isnan(image).sum()),
            f"{prefix}_sum": repr(float(np.nansum(image, dtype=np.float64))),
        }
    return row


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
