"""ZTF 4.02 alert packets of an observed object, one Avro object container each. Draws no pixel.

Field names and types are ZTF's and stay in this room. What a consumer may rely on follows from the simulation: times,
magnitudes, limits, positions, nearest reference source, history, stamps. What only describes the pipeline is filled
with values of the usual size, so that a filter on them behaves as on the real stream.

Legend: ``T`` visits, ``N`` alerts, ``C`` channels.
"""

import io
import json
import math
from functools import cache
from importlib import resources
from typing import Any

import fastavro
import numpy as np

from model.clock import SECONDS_PER_DAY, TAI_MINUS_UTC_S, calendar_date
from model.past_photometry import HISTORY_DAYS
from model.series import BANDS
from model.simulation.alerts.fits_bytes import ztf_stamp
from model.simulation.alerts.neighbours import Neighbour, from_a_place, neighbours, scattered
from model.simulation.alerts.observe import DETECTION_SNR, Observed
from model.simulation.surveys import ZTF, flux_njy
from model.simulation.surveys import ab_mag as ab_magnitude

CATALOGUE_ERROR_ARCSEC = 0.1  # per axis: of PS1 and of proper motions since it looked
CENTROID_ERROR_OF_FWHM = 0.6  # per axis, over the signal-to-noise ratio
SCORE_LOGIT, SCORE_LOST_PER_MAG, SCORE_SCATTER = 4.5, 0.9, 1.0  # of PS1's star-galaxy score, from r = 18 on
CANDIDATE_FWHM = (1.37, 0.4)  # over the stars' in 184 real stamps with isolated ones: median, scatter of the logarithm
JD_OF_MJD = 2_400_000.5
HALF_EXPOSURE_S = 15.0  # packets give the start of the exposure
FIRST_NIGHT_JD = 2_457_754.5  # night 0 of the survey's own numbers
NULLABLE_WITHOUT_DEFAULT = frozenset({"candid", "isdiffpos", "ra", "dec", "magpsf", "sigmapsf", "ranr", "decnr"})
NONE, NO_FIT = -999.0, -99999.0  # the survey's own words for "not found" and "not fitted"
PUBLISHER = "ZTF (www.ztf.caltech.edu)"
DIFFERENCE = 2  # channel


@cache
def schema() -> dict[str, Any]:
    """The schema of a packet, parsed by fastavro."""
    table = json.loads(resources.files("model.simulation.alerts").joinpath("ztf_schema.json").read_text("utf-8"))
    version = table["version"]

    def record(name: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
        return {"type": "record", "name": f"ztf.alert.{name}", "version": version, "fields": fields}

    def simple(entry: str, record_name: str) -> dict[str, Any]:
        name, avro = entry.split(" ")
        if not avro.endswith("?"):
            return {"name": name, "type": avro}
        field: dict[str, Any] = {"name": name, "type": ["null", avro[:-1]]}
        if record_name != "prv_candidate" or name not in NULLABLE_WITHOUT_DEFAULT:
            field["default"] = None
        return field

    parts = {name: record(name, [simple(e, name) for e in entries]) for name, entries in table["records"].items()}
    cutout = record("cutout", [{"name": "fileName", "type": "string"}, {"name": "stampData", "type": "bytes"}])

    def optional(name: str, avro: Any) -> dict[str, Any]:
        return {"name": name, "type": ["null", avro], "default": None}

    fields = [
        {"name": "schemavsn", "type": "string"},
        {"name": "publisher", "type": "string"},
        {"name": "objectId", "type": "string"},
        {"name": "candid", "type": "long"},
        {"name": "candidate", "type": parts["candidate"]},
        optional("prv_candidates", {"type": "array", "items": parts["prv_candidate"]}),
        optional("fp_hists", {"type": "array", "items": parts["fp_hist"]}),
        optional("cutoutScience", cutout),
        optional("cutoutTemplate", "ztf.alert.cutout"),
        optional("cutoutDifference", "ztf.alert.cutout"),
    ]
    whole = {"type": "record", "name": "ztf.alert", "version": version, "fields": fields}
    parsed = fastavro.parse_schema(whole)
    assert isinstance(parsed, dict)
    return parsed


class ZtfObject:
    """Everything that all packets of one object share."""

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        rng = np.random.default_rng([*observed.seed, 11])
        schedule = observed.obj.schedule
        self.field, self.quadrant = int(rng.integers(245, 880)), int(rng.integers(0, 64))
        self.jd_T = (
            schedule.time_T + JD_OF_MJD - (TAI_MINUS_UTC_S + HALF_EXPOSURE_S) / SECONDS_PER_DAY
        )  # UTC, start of the exposure
        self.pid_T = [self._processing_id(jd) for jd in self.jd_T]
        row_T = rng.integers(1, 80, len(self.jd_T))
        self.candid_T = [pid * 1_000_000 + 10_000 + int(row) for pid, row in zip(self.pid_T, row_T, strict=True)]
        self.x_px, self.y_px = rng.uniform(100, 2970), rng.uniform(100, 2980)
        self.template_days = (2_458_200.5 + rng.uniform(0, 60), 2_458_500.5 + rng.uniform(0, 200))
        self.template_frames = int(rng.integers(15, 40))
        catalogue_rng = np.random.default_rng([*observed.seed, 13])
        listed = neighbours(observed.obj, observed.ra_deg, observed.dec_deg)
        listed = scattered(listed, catalogue_rng, CATALOGUE_ERROR_ARCSEC)
        self.star_score = {n.catalogue_id: _star_score(n, catalogue_rng.standard_normal()) for n in listed}
        self.colour_coefficient = rng.normal(0.0, 0.05, 3)
        # The survey matches each detection to its reference afresh, so positions scatter from one to the next.
        snr_T = np.maximum(np.abs(observed.flux_T) / observed.flux_error_T, DETECTION_SNR)
        noise_T = CENTROID_ERROR_OF_FWHM * schedule.fwhm_T / np.nan_to_num(snr_T, nan=DETECTION_SNR)
        blur_deg_T = np.hypot(ZTF.astrometric_jitter_arcsec, noise_T) / 3600
        east_T, north_T = (blur_deg_T * rng.standard_normal(len(row_T)) for _ in "xy")
        self.ra_T = observed.ra_deg + east_T / math.cos(math.radians(observed.dec_deg))
        self.dec_T = observed.dec_deg + north_T
        places = zip(self.ra_T.tolist(), self.dec_T.tolist(), strict=True)
        self.near_T = [from_a_place(listed, *place) for place in places]  # catalogue sources as each visit sees them
        year = 2000 + int((self.jd_T[0] - 2_451_544.5) / 365.25)
        letters = "".join(chr(97 + int(x)) for x in rng.integers(0, 26, 7))
        self.object_id = f"ZTF{year % 100:02d}{letters}"
        self._noise_T = rng.standard_normal((len(row_T), 8))

    def _processing_id(self, jd: float) -> int:
        night = int(jd - FIRST_NIGHT_JD)
        return ((night * 100_000 + int((jd - FIRST_NIGHT_JD) % 1 * 1e5)) * 100 + self.quadrant) * 100 + 15

    def packet(self, n: int) -> bytes:
        """The packet of alert ``n`` as it goes over the wire."""
        out = io.BytesIO()
        fastavro.writer(out, schema(), [self.record(n)], sync_marker=_marker(self.candid_T[self.observed.visits_N[n]]))
        return out.getvalue()

    def record(self, n: int) -> dict[str, Any]:
        """The packet of alert ``n`` before it is serialised."""
        observed, t = self.observed, int(self.observed.visits_N[n])
        jd, candid, pid = self.jd_T[t], self.candid_T[t], self.pid_T[t]
        recent = np.flatnonzero((self.jd_T < jd) & (self.jd_T >= jd - HISTORY_DAYS["ztf"]))
        name = f"candid{candid}_pid{pid}_targ"
        scale = np.float32(1 / flux_njy(observed.obj.schedule.zero_point_T[t]))
        stamps_CHW = observed.pixels_NCHW[n] * scale
        if observed.flux_T[t] < 0:  # ZTF publishes the difference in which the source is positive: isdiffpos says which
            stamps_CHW[DIFFERENCE] *= -1
        top, bottom, left, right = observed.window_N4[n]

        def cutout(channel: int, file_name: str) -> dict[str, Any]:
            return {"fileName": file_name, "stampData": ztf_stamp(stamps_CHW[channel, top:bottom, left:right])}

        return {
            "schemavsn": "4.02",
            "publisher": PUBLISHER,
            "objectId": self.object_id,
            "candid": candid,
            "candidate": self._candidate(n),
            "prv_candidates": [self._previous(int(v)) for v in recent] or None,
            "fp_hists": [self._forced(int(v)) for v in recent] or None,
            "cutoutScience": cutout(0, f"{name}_sci.fits.gz"),
            "cutoutTemplate": cutout(1, f"candid{candid}_ref.fits.gz"),
            "cutoutDifference": cutout(DIFFERENCE, f"{name}_refmsci.fits.gz"),
        }

    def _file_name(self, t: int) -> str:
        day = calendar_date(self.jd_T[t] - JD_OF_MJD)
        fraction = int((self.jd_T[t] - 0.5) % 1 * 1e6)
        chip, corner = self.quadrant // 4 + 1, self.quadrant % 4 + 1
        return f"ztf_{day}{fraction:06d}_{self.field:06d}_z{self._band(t)}_c{chip:02d}_o_q{corner}_scimrefdiffimg.fits"

    def _band(self, t: int) -> str:
        return BANDS[self.observed.obj.schedule.band_T[t]]

    def _exposure(self, t: int) -> dict[str, Any]:
        """What is known of a visit whether or not anything was seen."""
        schedule, noise = self.observed.obj.schedule, self._noise_T[t]
        return {
            "jd": float(self.jd_T[t]),
            "fid": "gri".index(self._band(t)) + 1,
            "pid": self.pid_T[t],
            "diffmaglim": float(schedule.depth_T[t]),
            "pdiffimfilename": self._file_name(t),
            "programpi": "Kulkarni",
            "programid": 1,
            "nid": int(self.jd_T[t] - FIRST_NIGHT_JD),
            "rcid": self.quadrant,
            "field": self.field,
            "magzpsci": float(schedule.zero_point_T[t]),
            "magzpsciunc": float(8e-6 * np.exp(0.3 * noise[0])),
            "magzpscirms": float(0.025 * np.exp(0.3 * noise[1])),
            "clrcoeff": float(self.colour_coefficient["gri".index(self._band(t))]),
            "clrcounc": float(1.2e-5 * np.exp(0.3 * noise[0])),
            "rbversion": "t17_f5_c3",
        }

    def _detection(self, t: int) -> dict[str, Any]:
        """What the pipeline measures of a detection."""
        observed, noise = self.observed, self._noise_T[t]
        schedule = observed.obj.schedule
        flux, error = float(observed.flux_T[t]), float(observed.flux_error_T[t])
        magnitude, snr = float(ab_magnitude(max(abs(flux), error))), abs(flux) / error
        sigma = 2.5 / math.log(10) / snr
        real = observed.kind != "bogus"
        fwhm_px = float(schedule.fwhm_T[t]) / ZTF.pixel_arcsec
        elongation = float(1 + (0.08 if real else 0.6) * abs(noise[2]))
        semi_minor = max(fwhm_px / 2.355, 0.5)
        aperture = magnitude + 0.03 * noise[3]
        nearest = self._nearest_reference(t)
        return {
            "candid": self.candid_T[t],
            "isdiffpos": "t" if flux >= 0 else "f",
            "tblid": self.candid_T[t] % 10_000,
            "xpos": float(self.x_px + noise[4]),
            "ypos": float(self.y_px + noise[5]),
            "ra": float(self.ra_T[t]),
            "dec": float(self.dec_T[t]),
            "magpsf": magnitude,
            "sigmapsf": sigma,
            "chipsf": float(np.exp(0.4 * noise[6]) * (1 if real else 6)),
            "magap": aperture,
            "sigmagap": 0.8 * sigma,
            **nearest,
            "sky": 0.3 * float(noise[7]),
            "magdiff": aperture - magnitude,
            "fwhm": fwhm_px * CANDIDATE_FWHM[0] * math.exp(CANDIDATE_FWHM[1] * noise[7]),
            "classtar": float(np.clip(0.98 - 0.02 * abs(noise[2]) if real else 0.4 + 0.2 * noise[2], 0, 1)),
            "mindtoedge": float(min(self.x_px, self.y_px, 3072 - self.x_px, 3080 - self.y_px)),
            "magfromlim": float(schedule.depth_T[t]) - magnitude,
            "seeratio": float(np.exp(0.25 * noise[4])),
            "aimage": semi_minor * elongation,
            "bimage": semi_minor,
            "aimagerat": semi_minor * elongation / fwhm_px,
            "bimagerat": semi_minor / fwhm_px,
            "elong": elongation,
            "nneg": int(abs(2 * noise[5])) if real else 8 + int(abs(6 * noise[5])),
            "nbad": 0,
            "rb": _score(noise[6], real, snr),
            "sumrat": float(1 - (0.02 if real else 0.5) * min(abs(noise[3]), 1.9)),
            "magapbig": aperture - 0.02,
            "sigmagapbig": 0.95 * sigma,
            "scorr": snr,
        }

    def _nearest_reference(self, t: int) -> dict[str, Any]:
        """The nearest source of the template: host, star, or the variable itself."""
        band = int(self.observed.obj.schedule.band_T[t])
        known = [n for n in self.near_T[t] if n.flux_B[band] > flux_njy(21.5)]
        if not known:
            distances = {"distnr": 8.0 + abs(self._noise_T[t][0]) * 4, "magnr": 21.0, "sigmagnr": 0.2}
            return distances | {"chinr": 1.0, "sharpnr": 0.0}
        nearest = known[0]
        magnitude = float(ab_magnitude(nearest.flux_B[band]))
        return {
            "distnr": nearest.distance_arcsec,
            "magnr": magnitude,
            "sigmagnr": 0.013 + 10 ** (0.4 * (magnitude - 24.5)),
            "chinr": 0.9 if nearest.is_star else 1.6,
            "sharpnr": 0.0 if nearest.is_star else 0.4,
        }

    def _candidate(self, n: int) -> dict[str, Any]:
        observed, t = self.observed, int(self.observed.visits_N[n])
        jd, noise, real = self.jd_T[t], self._noise_T[t], observed.kind != "bogus"
        earlier = observed.detected_T & (self.jd_T <= jd)
        first = self.jd_T[np.flatnonzero(earlier)[0]] if earlier.any() else jd
        pixels_HW, sigma = observed.pixels_NCHW[n, DIFFERENCE], float(observed.sigma_NC[n, DIFFERENCE])
        scale = 1 / float(flux_njy(observed.obj.schedule.zero_point_T[t]))
        snr_of = [float(np.nanstd(observed.pixels_NCHW[n, c]) / observed.sigma_NC[n, c]) for c in (0, DIFFERENCE)]
        moving = observed.kind == "asteroid"
        near = self.near_T[t]
        nearest = near[0] if near else None
        detection = self._detection(t)
        exposure = self._exposure(t)
        return (
            exposure
            | detection
            | _catalogue(near, self.star_score)
            | {
                "ssdistnr": float(abs(noise[0])) if moving else NONE,
                "ssmagnr": detection["magpsf"] + 0.1 * float(noise[1]) if moving else NONE,
                "ssnamenr": str(100_000 + self.candid_T[t] % 400_000) if moving else "null",
                "ranr": nearest.ra_deg if nearest else observed.ra_deg,
                "decnr": nearest.dec_deg if nearest else observed.dec_deg,
                "ndethist": int(max(earlier.sum(), 1)),
                "ncovhist": int((self.jd_T <= jd).sum()),
                "jdstarthist": float(first),
                "jdendhist": float(jd),
                "tooflag": 0,
                "rfid": self.field * 1_000_000 + exposure["fid"] * 10_000 + 5_000 + self.quadrant,
                "jdstartref": self.template_days[0],
                "jdendref": self.template_days[1],
                "nframesref": self.template_frames,
                "ssnrms": snr_of[0],
                "dsnrms": snr_of[1],
                "dsdiff": snr_of[1] - snr_of[0],
                "nmatches": 900 + int(abs(500 * noise[2])),
                "zpclrcov": -7.9e-6,
                "zpmed": exposure["magzpsci"],
                "clrmed": 0.7 + 0.05 * float(noise[3]),
                "clrrms": 0.2,
                "neargaia": nearest.distance_arcsec if nearest and nearest.is_star else 10 + 5 * abs(noise[4]),
                "maggaia": float(ab_magnitude(nearest.flux_B[2])) if nearest and nearest.is_star else 19.5,
                "neargaiabright": 40 + 25 * abs(float(noise[5])),
                "maggaiabright": 13.0 + float(noise[6]) * 0.5,
                "exptime": 30.0,
                "drb": _score(noise[7], real, abs(float(observed.flux_T[t])) / float(observed.flux_error_T[t])),
                "drbversion": "d6_m7",
                "sky": float(np.nanmedian(pixels_HW)) * scale if sigma > 0 else 0.0,
            }
        )

    def _previous(self, t: int) -> dict[str, Any]:
        """An earlier visit: a detection, or a limit."""
        nothing = dict.fromkeys(("candid", "isdiffpos", "ra", "dec", "magpsf", "sigmapsf", "ranr", "decnr"))
        record: dict[str, Any] = nothing | self._exposure(t)
        if self.observed.detected_T[t]:
            nearest = next(iter(self.near_T[t]), None)
            record |= self._detection(t)
            record["ranr"] = nearest.ra_deg if nearest else self.observed.ra_deg
            record["decnr"] = nearest.dec_deg if nearest else self.observed.dec_deg
        return record

    def _forced(self, t: int) -> dict[str, Any]:
        """Forced photometry of an earlier visit; a few percent of the fits fail."""
        observed, noise, exposure = self.observed, self._noise_T[t], self._exposure(t)
        schedule = observed.obj.schedule
        scale = 1 / float(flux_njy(schedule.zero_point_T[t]))
        nearest = self._nearest_reference(t)
        fitted = abs(noise[7]) < 2
        position = next(iter(self.near_T[t]), None)
        record = {name: exposure[name] for name in ("field", "rcid", "fid", "pid", "magzpsci", "magzpsciunc")}
        record |= {name: exposure[name] for name in ("magzpscirms", "clrcoeff", "clrcounc", "diffmaglim", "jd")}
        return record | {
            "rfid": self.field * 1_000_000 + exposure["fid"] * 10_000 + 5_000 + self.quadrant,
            "sciinpseeing": float(schedule.fwhm_T[t]),
            "scibckgnd": float(schedule.sky_T[t]) * scale,
            "scisigpix": float(observed.flux_error_T[t]) * scale / (math.sqrt(2.266) * float(schedule.fwhm_T[t])),
            "exptime": 30.0,
            "adpctdif1": 0.07 + 0.005 * float(noise[0]),
            "adpctdif2": 0.08 + 0.006 * float(noise[1]),
            "programid": 1,
            "forcediffimflux": float(observed.flux_T[t]) * scale if fitted else NO_FIT,
            "forcediffimfluxunc": float(observed.flux_error_T[t]) * scale if fitted else NO_FIT,
            "procstatus": "0" if fitted else "61",
            "ranr": (position.ra_deg if position else observed.ra_deg) if fitted else NO_FIT,
            "decnr": (position.dec_deg if position else observed.dec_deg) if fitted else NO_FIT,
            **(nearest if fitted else dict.fromkeys(nearest, NO_FIT)),
        }


def _score(noise: float, real: bool, snr: float) -> float:
    """A real/bogus score: real sources score high, more so when bright."""
    logit = (1.5 + 0.08 * min(snr, 40) if real else -2.0) + 0.8 * float(noise)
    return 1 / (1 + math.exp(-logit))


def _star_score(known: Neighbour, noise: float) -> float:
    """How much like a star a deep catalogue finds a source, 0 to 1: the fainter, the less sure."""
    magnitude = float(np.nan_to_num(ab_magnitude(known.flux_B[2]), nan=24.0))
    sure = max(SCORE_LOGIT - SCORE_LOST_PER_MAG * max(magnitude - 18.0, 0.0), 0.0)
    return 1 / (1 + math.exp(-(sure if known.is_star else -sure) - SCORE_SCATTER * noise))


def _catalogue(near: list[Neighbour], star_score: dict[int, float]) -> dict[str, Any]:
    """The three nearest sources of a deep catalogue."""
    columns: dict[str, Any] = {"nmtchps": len(near)}
    for rank in (1, 2, 3):
        known = near[rank - 1] if rank <= len(near) else None
        columns[f"objectidps{rank}"] = known.catalogue_id if known else None
        columns[f"distpsnr{rank}"] = known.distance_arcsec if known else NONE
        columns[f"sgscore{rank}"] = star_score[known.catalogue_id] if known else NONE
        for name, band in (("sgmag", 1), ("srmag", 2), ("simag", 3), ("szmag", 4)):
            magnitude = float(ab_magnitude(known.flux_B[band])) if known else NONE
            columns[f"{name}{rank}"] = magnitude if math.isfinite(magnitude) else NONE
    return columns


def _marker(candid: int) -> bytes:
    return candid.to_bytes(16, "big")  # the container's sync marker: random by rule, repeatable for us
