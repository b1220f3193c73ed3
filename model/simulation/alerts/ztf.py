"""ZTF 4.02 alert packets of an observed object, one Avro object container each. Draws no pixel.

Field names and types are ZTF's and stay in this room. What a consumer may rely on follows from the simulation: times,
magnitudes, limits, positions, nearest reference source, history, stamps. What only describes the pipeline is filled
with values of the usual size, so that a filter on them behaves as on the real stream. Its catalogues fit point sources
to galaxies: the reference image's, PS1's, and Gaia's, which lists a nucleus where its core is bright enough.

References
----------
Masci et al. 2019 (PASP 131, 018003), the packets' fields; Chambers et al. 2016 (arXiv:1612.05560), images of PS1; Gaia
Collaboration 2016 (A&A 595, A1), its limit; Krone-Martins et al. 2013 (A&A 556, A102), galaxies that it detects.

Legend: ``T`` visits, ``N`` alerts, ``C`` channels, ``X`` times, ``Y`` years.
"""

import io
import json
import math
from functools import cache
from importlib import resources
from typing import Any

import fastavro
import numpy as np
from numpy.typing import NDArray

from model.clock import SECONDS_PER_DAY, TAI_MINUS_UTC_S, calendar_date
from model.past_photometry import HISTORY_DAYS
from model.series import BANDS
from model.simulation.alerts.fits_bytes import ztf_stamp
from model.simulation.alerts.neighbours import Neighbour, from_a_place, neighbours, scattered
from model.simulation.alerts.observe import DETECTION_SNR, Observed
from model.simulation.survey.cameras import CAMERAS
from model.simulation.survey.psf import FWHM_PER_SIGMA
from model.simulation.surveys import ZTF, flux_njy
from model.simulation.surveys import ab_mag as ab_magnitude

CATALOGUE_ERROR_ARCSEC = 0.1  # per axis: of PS1 and of proper motions since it looked
CENTROID_ERROR_OF_FWHM = 0.6  # per axis, over the signal-to-noise ratio
PS1_FWHM_ARCSEC = 1.2
GAIA_FWHM_ARCSEC, GAIA_LIMIT_MAG = 0.4, 20.7
BEYOND_THE_STAMP_ARCSEC = (32.0, 8.0)  # to Gaia's nearest where the stamp holds none: its edge, and how far on
REFERENCE_SIGMA = 3.0  # of the faintest sources that are found in a reference image
SCORE_LOGIT, SCORE_LOST_PER_MAG, SCORE_SCATTER = 4.5, 0.9, 1.0  # of PS1's star-galaxy score, from r = 18 on
CANDIDATE_FWHM = (1.37, 0.4)  # over the stars' in 184 real stamps with isolated ones: median, scatter of the logarithm
JD_OF_MJD = 2_400_000.5
HALF_EXPOSURE_S = 15.0  # packets give the start of the exposure
SURVEY_START_JD, YEAR_D = 2_458_194.5, 365.25  # 17 March 2018: no detection is older
REFERENCE_AFTER_D = 180.0  # at most, until a field has its 15 frames for a reference image, and differences
WITHOUT_A_PAST = ("Nova", "uLens")  # stars that change once
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
        self.seen_before, self.covered_before = self._earlier_years()
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

    def _earlier_years(self) -> tuple[NDArray[np.float64], int]:
        """Times (JD) of detections in the survey's years before the simulated one, and the number of visits in them:
        years like this one for what was there, none for what is new."""
        begin_jd = SURVEY_START_JD + np.random.default_rng([*self.observed.seed, 17]).uniform(0, REFERENCE_AFTER_D)
        visits_X = _year_by_year(self.jd_T, begin_jd)
        truth = self.observed.obj.truth
        persists = truth["kind"] in ("AGN", "Star") and truth["subtype"] not in WITHOUT_A_PAST
        seen_X = _year_by_year(self.jd_T[self.observed.detected_T], begin_jd) if persists else np.empty(0)
        return seen_X, len(visits_X)

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
        semi_minor = max(fwhm_px / FWHM_PER_SIGMA, 0.5)
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
        camera = CAMERAS[ZTF.name]
        fwhm_arcsec = camera.template_fwhm[0] * float(ZTF.fwhm_arcsec_B[band])
        limit_mag = float(ZTF.depth_mag_B[band]) + camera.template_gain_mag[0] + 2.5 * math.log10(5 / REFERENCE_SIGMA)
        found = ((n, float(ab_magnitude(n.psf_flux_B(fwhm_arcsec)[band]))) for n in self.near_T[t])
        nearest, magnitude = next(((n, mag) for n, mag in found if mag < limit_mag), (None, limit_mag))
        error = 0.013 + 10 ** (0.4 * (magnitude - 24.5))
        if nearest is None:
            distances = {"distnr": 8.0 + abs(self._noise_T[t][0]) * 4, "magnr": magnitude, "sigmagnr": error}
            return distances | {"chinr": 1.0, "sharpnr": 0.0}
        return {
            "distnr": nearest.distance_arcsec,
            "magnr": magnitude,
            "sigmagnr": error,
            "chinr": 0.9 if nearest.is_star else 1.6,
            "sharpnr": 0.0 if nearest.is_star else 0.4,
        }

    def _candidate(self, n: int) -> dict[str, Any]:
        observed, t = self.observed, int(self.observed.visits_N[n])
        jd, noise, real = self.jd_T[t], self._noise_T[t], observed.kind != "bogus"
        earlier = observed.detected_T & (self.jd_T <= jd)
        first = min([jd, *self.jd_T[earlier][:1], *self.seen_before[:1]])
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
            | _gaia(near, abs(float(noise[4])))
            | {
                "ssdistnr": float(abs(noise[0])) if moving else NONE,
                "ssmagnr": detection["magpsf"] + 0.1 * float(noise[1]) if moving else NONE,
                "ssnamenr": str(100_000 + self.candid_T[t] % 400_000) if moving else "null",
                "ranr": nearest.ra_deg if nearest else observed.ra_deg,
                "decnr": nearest.dec_deg if nearest else observed.dec_deg,
                "ndethist": len(self.seen_before) + int(max(earlier.sum(), 1)),
                "ncovhist": self.covered_before + int((self.jd_T <= jd).sum()),
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


def _year_by_year(jd_X: NDArray[np.float64], begin_jd: float) -> NDArray[np.float64]:
    """The same times a year ago, two years ago and so on, back to a beginning, in order."""
    if not len(jd_X):
        return jd_X
    years_Y = np.arange(1, max(int((jd_X[-1] - begin_jd) / YEAR_D) + 1, 1))
    past_X = (jd_X - YEAR_D * years_Y[:, None]).ravel()
    return np.asarray(np.sort(past_X[past_X >= begin_jd]))


def _score(noise: float, real: bool, snr: float) -> float:
    """A real/bogus score: real sources score high, more so when bright."""
    logit = (1.5 + 0.08 * min(snr, 40) if real else -2.0) + 0.8 * float(noise)
    return 1 / (1 + math.exp(-logit))


def _star_score(known: Neighbour, noise: float) -> float:
    """How much like a star a deep catalogue finds a source, 0 to 1: the fainter, the less sure."""
    magnitude = float(np.nan_to_num(ab_magnitude(known.psf_flux_B(PS1_FWHM_ARCSEC)[2]), nan=24.0))
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
        flux_B = known.psf_flux_B(PS1_FWHM_ARCSEC) if known else np.full(len(BANDS), np.nan)
        for name, band in (("sgmag", 1), ("srmag", 2), ("simag", 3), ("szmag", 4)):
            magnitude = float(ab_magnitude(flux_B[band]))
            columns[f"{name}{rank}"] = magnitude if math.isfinite(magnitude) else NONE
    return columns


def _gaia(near: list[Neighbour], beyond: float) -> dict[str, float]:
    """Gaia's nearest source: a star, or a galaxy whose core is bright enough; else one beyond the stamp."""
    for known in near:
        magnitude = float(ab_magnitude(known.psf_flux_B(GAIA_FWHM_ARCSEC)[2]))
        if magnitude < GAIA_LIMIT_MAG:
            return {"neargaia": known.distance_arcsec, "maggaia": magnitude}
    edge_arcsec, further_arcsec = BEYOND_THE_STAMP_ARCSEC
    return {"neargaia": edge_arcsec + further_arcsec * beyond, "maggaia": 19.5}


def _marker(candid: int) -> bytes:
    return candid.to_bytes(16, "big")  # the container's sync marker: random by rule, repeatable for us
