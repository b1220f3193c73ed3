"""LSST alert packets of an observed object, framed as Confluent frames them. Draws no pixel.

The schemas are those of the survey's package ``lsst-alert-packet``; its field names stay in this room.

Legend: ``T`` visits, ``N`` alerts, ``C`` channels, ``H W`` pixels.
"""

import io
import math
import struct
from functools import cache
from typing import Any

import fastavro
import numpy as np
from lsst.alert.packet import Schema, get_schema_path

from model.clock import calendar_date
from model.past_photometry import HISTORY_DAYS
from model.series import BANDS
from model.simulation.alerts.fits_bytes import lsst_stamp
from model.simulation.alerts.neighbours import neighbours
from model.simulation.alerts.observe import CHANNELS, Observed
from model.simulation.survey.cameras import CAMERAS
from model.simulation.survey.psf import FWHM_PER_SIGMA
from model.simulation.survey.psf import images as psf_images
from model.simulation.surveys import LSST

DEFAULT_VERSION = (10, 0)
MAGIC = 0  # first byte of a Confluent frame; the schema id follows, big-endian
SMALLEST_STAMP_PX = 30
SIZES_PX = (31, 33, 35, 37, 41, 47)  # footprints larger than the smallest stamp
LARGER_FRACTION = 0.4
PSF_PX = 41
EXPOSURE_S = 30.0
PROCESSING_DELAY_DAYS = 60 / 86_400
MJD_OF_2000 = 51_544.0


@cache
def schema(version: tuple[int, int] = DEFAULT_VERSION) -> Any:
    """The schema of a packet, parsed by fastavro."""
    major, minor = version
    path = f"{get_schema_path(major, minor)}/lsst.v{major}_{minor}.alert.avsc"
    return fastavro.parse_schema(Schema.from_file(path).definition)


def frame(record: dict[str, Any], version: tuple[int, int] = DEFAULT_VERSION) -> bytes:
    """A packet as it goes over the wire: magic byte, schema id = 100 major + minor, datum without schema."""
    out = io.BytesIO()
    out.write(struct.pack(">bI", MAGIC, 100 * version[0] + version[1]))
    fastavro.schemaless_writer(out, schema(version), record)
    return out.getvalue()


@cache
def _empty(record_name: str, version: tuple[int, int]) -> dict[str, Any]:
    """A record of which nothing is known: flags down, counts zero, the rest null."""
    definition = _find(schema(version), f"lsst.v{version[0]}_{version[1]}.{record_name}")
    assert definition is not None, f"the schema of an alert holds no {record_name}"
    empty: dict[str, Any] = {}
    for field in definition["fields"]:
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        if "boolean" in kinds:
            empty[field["name"]] = False
        elif "null" in kinds:
            empty[field["name"]] = None
        else:
            empty[field["name"]] = "" if "string" in kinds else 0
    return empty


def _find(node: Any, name: str) -> dict[str, Any] | None:
    if isinstance(node, dict):
        if node.get("name") == name and "fields" in node:
            return node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            if (inner := _find(child, name)) is not None:
                return inner
    return None


class LsstObject:
    """Everything that all packets of one object share."""

    def __init__(self, observed: Observed, version: tuple[int, int] = DEFAULT_VERSION) -> None:
        self.observed, self.version = observed, version
        rng = np.random.default_rng([*observed.seed, 12])
        schedule = observed.obj.schedule
        self.time_T = schedule.time_T
        self.detector_T = rng.integers(0, 189, len(self.time_T))
        self.visit_T = [_visit(time) for time in self.time_T]
        serial_T = rng.integers(0, 1 << 20, len(self.time_T))
        self.source_id_T = [
            ((int((time - MJD_OF_2000) * 2880) << 28) | (int(detector) << 20) | int(serial)) + (1 << 52)
            for time, detector, serial in zip(self.time_T, self.detector_T, serial_T, strict=True)
        ]
        self.object_id = self.source_id_T[
            int(np.flatnonzero(observed.detected_T)[0]) if observed.detected_T.any() else 0
        ]
        self.near = neighbours(observed.obj, observed.ra_deg, observed.dec_deg)
        blur_deg = LSST.astrometric_jitter_arcsec / 3600
        self.ra_T = observed.ra_deg + rng.normal(0, blur_deg, len(serial_T)) / math.cos(math.radians(observed.dec_deg))
        self.dec_T = observed.dec_deg + rng.normal(0, blur_deg, len(serial_T))
        self._noise_T = rng.standard_normal((len(serial_T), 6))
        self._rotation_T = rng.uniform(0, 360, len(serial_T))
        self._side_T = rng.integers(0, 2, (len(serial_T), 2))

    def packet(self, n: int) -> bytes:
        """The packet of alert ``n`` as it goes over the wire."""
        return frame(self.record(n), self.version)

    def record(self, n: int) -> dict[str, Any]:
        """The packet of alert ``n`` before it is serialised."""
        observed, t = self.observed, int(self.observed.visits_N[n])
        moving = observed.kind == "asteroid"
        time = self.time_T[t]
        recent_T = (self.time_T < time) & (self.time_T >= time - HISTORY_DAYS["lsst"])
        sources = [self._source(int(v)) for v in np.flatnonzero(recent_T & observed.detected_T)]
        forced = [self._forced(int(v)) for v in np.flatnonzero(recent_T)]
        known = bool(sources) and not moving
        cutouts = self._cutouts(n)
        return {
            "diaSourceId": self.source_id_T[t],
            "observation_reason": "lowdust",
            "target_name": "lowdust",
            "diaSource": self._source(t),
            "prvDiaSources": sources if known else None,
            "prvDiaForcedSources": forced if known else None,
            "diaObject": None if moving else self._object(t),
            "ssSource": self._solar_system(t) if moving else None,
            "mpc_orbits": self._orbit(t) if moving else None,
            **dict(zip(("cutoutScience", "cutoutTemplate", "cutoutDifference"), cutouts, strict=True)),
        }

    def _source(self, t: int) -> dict[str, Any]:
        observed, noise = self.observed, self._noise_T[t]
        schedule, moving = observed.obj.schedule, observed.kind == "asteroid"
        flux, error = float(observed.flux_T[t]), float(observed.flux_error_T[t])
        band = int(schedule.band_T[t])
        template = float(sum(near.flux_B[band] for near in self.near if near.distance_arcsec < 1.0))
        second_moment = (float(schedule.fwhm_T[t]) / FWHM_PER_SIGMA) ** 2  # arcsec^2
        snr = abs(flux) / error
        side = observed.pixels_NCHW.shape[-1]
        real = observed.kind != "bogus"
        return _empty("diaSource", self.version) | {
            "diaSourceId": self.source_id_T[t],
            "visit": self.visit_T[t],
            "detector": int(self.detector_T[t]),
            "diaObjectId": 0 if moving else self.object_id,
            "ssObjectId": self._solar_system_id(t) if moving else 0,
            "parentDiaSourceId": 0,
            "midpointMjdTai": float(self.time_T[t]),
            "timeProcessedMjdTai": float(self.time_T[t]) + PROCESSING_DELAY_DAYS,
            "ra": float(self.ra_T[t]),
            "dec": float(self.dec_T[t]),
            "raErr": LSST.astrometric_jitter_arcsec / 3600 / max(snr / 5, 1),
            "decErr": LSST.astrometric_jitter_arcsec / 3600 / max(snr / 5, 1),
            "ra_dec_Cov": 0.0,
            "x": 2036.0 + 900 * float(noise[0]) % 1900,
            "y": 2000.0 + 900 * float(noise[1]) % 1900,
            "xErr": 1.0 / snr,
            "yErr": 1.0 / snr,
            "apFlux": flux + 1.5 * error * float(noise[2]),
            "apFluxErr": 1.8 * error,
            "snr": snr,
            "psfFlux": flux,
            "psfFluxErr": error,
            "psfChi2": PSF_PX**2 * (1 + 0.05 * float(noise[3])) * (1 if real else 3),
            "psfNdata": PSF_PX**2,
            "scienceFlux": template + flux,
            "scienceFluxErr": error,
            "templateFlux": template,
            "templateFluxErr": 0.3 * error,
            "ixx": second_moment,
            "iyy": second_moment,
            "ixy": 0.0,
            "ixxPSF": second_moment,
            "iyyPSF": second_moment,
            "ixyPSF": 0.0,
            "extendedness": float(np.clip(0.05 + 0.05 * abs(noise[4]) if real else 0.8, 0, 1)),
            "reliability": _score(noise[5], real, snr),
            "isNegative": flux < 0,
            "isDipole": not real,
            "dipoleFitAttempted": not real,
            "dipoleNdata": 0 if real else PSF_PX**2,
            "trailNdata": 0,
            "trailFlux": flux,
            "trailFluxErr": error,
            "trailAngle": 90 * float(noise[1]) % 180 - 90,
            "trailRa": float(self.ra_T[t]),
            "trailDec": float(self.dec_T[t]),
            "trailLength": 0.5 * abs(float(noise[0])),
            "band": BANDS[band],
            "bboxSize": max(side, SMALLEST_STAMP_PX),
        }

    def _forced(self, t: int) -> dict[str, Any]:
        observed = self.observed
        band = int(observed.obj.schedule.band_T[t])
        template = float(sum(near.flux_B[band] for near in self.near if near.distance_arcsec < 1.0))
        flux, error = float(observed.flux_T[t]), float(observed.flux_error_T[t])
        return _empty("diaForcedSource", self.version) | {
            "diaForcedSourceId": self.source_id_T[t] + (1 << 20),
            "diaObjectId": self.object_id,
            "ra": observed.ra_deg,
            "dec": observed.dec_deg,
            "visit": self.visit_T[t],
            "detector": int(self.detector_T[t]),
            "psfFlux": flux,
            "psfFluxErr": error,
            "scienceFlux": template + flux,
            "scienceFluxErr": error,
            "midpointMjdTai": float(self.time_T[t]),
            "timeProcessedMjdTai": float(self.time_T[t]) + PROCESSING_DELAY_DAYS,
            "band": BANDS[band],
        }

    def _object(self, t: int) -> dict[str, Any]:
        observed, schedule = self.observed, self.observed.obj.schedule
        seen_T = observed.detected_T & (self.time_T <= self.time_T[t])
        seen_T[t] = True
        columns: dict[str, Any] = {}
        for b, band in enumerate(BANDS):
            flux = observed.flux_T[seen_T & (schedule.band_T == b)].astype(np.float64)
            columns[f"{band}_psfFluxNdata"] = len(flux)
            if len(flux) == 0:
                continue
            columns |= {f"{band}_psfFluxMean": flux.mean(), f"{band}_psfFluxMin": flux.min()}
            columns |= {f"{band}_psfFluxMax": flux.max()}
            if len(flux) > 1:
                columns[f"{band}_psfFluxSigma"] = flux.std(ddof=1)
                columns[f"{band}_psfFluxMeanErr"] = flux.std(ddof=1) / math.sqrt(len(flux))
        known = _empty("diaObject", self.version)
        seen_times = self.time_T[seen_T]
        return (
            known
            | {name: float(v) if not isinstance(v, int) else v for name, v in columns.items() if name in known}
            | {
                "diaObjectId": self.object_id,
                "validityStartMjdTai": float(self.time_T[t]) + PROCESSING_DELAY_DAYS,
                "ra": observed.ra_deg,
                "dec": observed.dec_deg,
                "raErr": LSST.astrometric_jitter_arcsec / 3600,
                "decErr": LSST.astrometric_jitter_arcsec / 3600,
                "firstDiaSourceMjdTai": float(seen_times[0]),
                "lastDiaSourceMjdTai": float(seen_times[-1]),
                "nDiaSources": int(seen_T.sum()),
            }
        )

    def _solar_system_id(self, t: int) -> int:
        return 21_163_620_000_000_000 + self.source_id_T[t] % 1_000_000_000

    def _solar_system(self, t: int) -> dict[str, Any]:
        designation = f"K{self.source_id_T[t] % 25:02d}S{self.source_id_T[t] % 99:02d}C"
        known = _empty("ssSource", self.version)
        values = {
            "diaSourceId": self.source_id_T[t],
            "ssObjectId": self._solar_system_id(t),
            "designation": designation,
            "ephRa": self.observed.ra_deg,
            "ephDec": self.observed.dec_deg,
            "ephOffset": abs(float(self._noise_T[t][0])) * 0.05,
            "phaseAngle": 8.0 + float(self._noise_T[t][1]),
            "topoRange": 1.6,
            "helioRange": 2.5,
        }
        return known | {name: value for name, value in values.items() if name in known}

    def _orbit(self, t: int) -> dict[str, Any]:
        designation = f"K{self.source_id_T[t] % 25:02d}S{self.source_id_T[t] % 99:02d}C"
        return _empty("mpc_orbits", self.version) | {
            "designation": designation,
            "packed_primary_provisional_designation": designation,
            "unpacked_primary_provisional_designation": designation,
            "q": 2.1,
            "e": 0.15,
        }

    def _cutouts(self, n: int) -> list[bytes]:
        observed, t = self.observed, int(self.observed.visits_N[n])
        pixels_CHW = observed.pixels_NCHW[n]
        rows, columns = (_even(pixels_CHW.shape[-1], int(side)) for side in self._side_T[t])
        cut_CHW = pixels_CHW[:, rows, columns]
        centre_x, centre_y = (pixels_CHW.shape[-1] // 2 - (axis.start or 0) for axis in (columns, rows))
        fwhm_px = np.array([float(observed.fwhm_N[n]) / LSST.pixel_arcsec])
        zero = np.zeros(1)
        psf_HW = psf_images(fwhm_px, zero, zero, (PSF_PX, PSF_PX), CAMERAS["lsst"].psf)[0].astype(np.float64)
        rotation = math.radians(self._rotation_T[t])
        scale = LSST.pixel_arcsec / 3600
        cards: dict[str, str | int | float | bool] = {
            "ROTPA": float(self._rotation_T[t]),
            "BUNIT": "nJy",
            "WCSAXES": 2,
            "CRPIX1": float(centre_x + 1),
            "CRPIX2": float(centre_y + 1),
            "PC1_1": -scale * math.cos(rotation),
            "PC1_2": scale * math.sin(rotation),
            "PC2_1": scale * math.sin(rotation),
            "PC2_2": scale * math.cos(rotation),
            "CDELT1": 1.0,
            "CDELT2": 1.0,
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            "CRVAL1": observed.ra_deg,
            "CRVAL2": observed.dec_deg,
            "MJDREF": 0.0,
        }
        photons_HW = np.nan_to_num(np.maximum(cut_CHW[0], 0)) / observed.electrons_per_njy_N[n]
        stamps = []
        for c, channel in enumerate(CHANNELS):
            variance_HW = observed.sigma_NC[n, c] ** 2 + (0 if channel == "template" else photons_HW)
            stamps.append(
                lsst_stamp(cut_CHW[c], np.broadcast_to(variance_HW, cut_CHW[c].shape), psf_HW / psf_HW.sum(), cards)
            )
        return stamps


def stamp_size(rng: np.random.Generator) -> int:
    """Rows of the stamps of one object: larger footprints get larger stamps. Odd, so that the centre is a pixel."""
    return int(rng.choice(SIZES_PX)) if rng.random() < LARGER_FRACTION else SMALLEST_STAMP_PX + 1


def _even(size: int, side: int) -> slice:
    """The smallest stamp has an even number of rows: one row goes, on either side."""
    if size != SMALLEST_STAMP_PX + 1:
        return slice(0, size)
    return slice(side, side + SMALLEST_STAMP_PX)


def _visit(time_mjd: float) -> int:
    """A visit's number: the date of its night and a count, as the survey writes it."""
    return int(calendar_date(time_mjd - 0.5)) * 100_000 + int((time_mjd - 0.5) % 1 * 86_400 / 38)


def _score(noise: float, real: bool, snr: float) -> float:
    logit = (1.2 + 0.05 * min(snr, 40) if real else -2.0) + 0.8 * float(noise)
    return 1 / (1 + math.exp(-logit))
