"""Schedule of one position under a survey: nights, bands, depth, seeing. Knows no source.

What is drawn here is the same for every class: nothing about a source may enter.

Legend: ``N`` nights, ``T`` visits, ``B`` bands of ``model.series.BANDS``.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import ndtr

from model.clock import SECONDS_PER_DAY
from model.series import BANDS
from model.simulation.sky_records import Schedule
from model.simulation.survey import psf
from model.simulation.survey.cameras import CAMERAS
from model.simulation.surveys import ZTF_READ_VARIANCE_DN2, Survey, flux_njy

SDSS_GAP_PROBABILITY = np.array(
    [182, 269, 166, 75, 68, 67, 50, 34, 19, 32, 3, 3, 5, 6, 6, 6]
)  # per mille of 1..16 days between nights of the supernova survey
# Quoted gaps include positions seen by both strips, which have shorter ones; a single strip's are a little longer.
SDSS_SINGLE_STRIP_TILT = 0.05  # per day
SDSS_NIGHT_MARGIN_DAYS = 1.0  # the last night may follow the end of the window by this much
SDSS_OVERLAP_FRACTION = 0.07  # positions that both stripes, 82N and 82S, cover
SDSS_MISSING = {"u": 0.066, "g": 0.023, "r": 0.026, "i": 0.027, "z": 0.023}  # band-epochs that were not delivered
SDSS_OFFSET_S = {"u": 143.3, "g": 286.6, "r": 0.0, "i": 71.6, "z": 215.0}  # one drift scan crosses r, i, u, z, g
SDSS_DEPTH_CORRELATION = np.array(
    [
        [1.00, 0.87, 0.80, 0.74, 0.65],
        [0.87, 1.00, 0.87, 0.74, 0.54],
        [0.80, 0.87, 1.00, 0.89, 0.71],
        [0.74, 0.74, 0.89, 1.00, 0.83],
        [0.65, 0.54, 0.71, 0.83, 1.00],
    ]
)
SDSS_DEPTH_PERCENT = np.array([0.0, 0.01, 0.05, 0.16, 0.50, 0.84, 0.95, 1.0])
SDSS_DEPTH_MAG = np.array(  # measured quantiles; the ends of the range are guesses
    [
        [19.70, 20.06, 20.50, 20.95, 21.42, 21.69, 21.78, 21.88],
        [20.40, 20.81, 21.39, 21.86, 22.53, 22.84, 22.95, 23.05],
        [20.50, 20.90, 21.29, 21.69, 22.14, 22.40, 22.50, 22.60],
        [20.30, 20.65, 21.08, 21.40, 21.73, 21.95, 22.03, 22.12],
        [19.20, 19.51, 19.91, 20.19, 20.50, 20.72, 20.82, 20.90],
    ]
)
PERCENT = np.array([0.0, 0.05, 0.16, 0.50, 0.84, 0.95, 1.0])
# Log of the science image's variance over that of the background's photons and the read noise, in sparse fields
# (measure_ztf.py); the ends follow from the limits. Moon and twilight make the tail; the background is the template's,
# so that darker nights lie below zero.
ZTF_EXCESS = {
    "g": [-0.45, -0.10, 0.12, 0.45, 2.10, 3.20, 4.8],
    "r": [-0.50, -0.18, 0.07, 0.48, 1.65, 2.90, 4.4],
    "i": [-0.50, -0.18, 0.07, 0.48, 1.65, 2.90, 4.4],
}
# Of stars in the science stamps of real alerts, by the share of their light within 1.5 px, wider at the blurred
# end, where fewer visits give alerts; the packets' own "fwhm" is that of the candidate.
ZTF_FWHM_ARCSEC = {
    "g": [1.50, 1.75, 1.90, 2.32, 3.60, 4.20, 4.9],
    "r": [1.35, 1.50, 1.62, 2.00, 2.80, 3.60, 4.4],
    "i": [1.30, 1.45, 1.57, 1.90, 2.52, 3.40, 4.4],
}
ZTF_ZERO_POINT_MAG = {  # magzpsci of real alerts; clouds and dust on the mirror make the faint tail
    "g": [25.2, 25.61, 26.06, 26.23, 26.33, 26.39, 26.45],
    "r": [25.3, 25.80, 26.10, 26.24, 26.34, 26.41, 26.47],
    "i": [24.7, 25.20, 25.50, 25.66, 25.76, 25.83, 25.90],
}
# Background of the science stamps of real alerts, DN at the zero point below: the field's own.
ZTF_SKY_DN: dict[str, list[float]] = {
    "g": [75, 85, 90, 106, 146, 190, 230],
    "r": [140, 154, 169, 213, 295, 394, 450],
    "i": [145, 160, 176, 222, 307, 410, 470],
}
ZTF_SKY_ZERO_POINT_MAG = 26.25
# Correlations with what the visits of a night share: clouds and moonlight; with them limits are those of all visits in
# the histories of real alerts.
ZTF_EXCESS_NIGHT, ZTF_ZERO_POINT_NIGHT, ZTF_SEEING_NIGHT = 0.80, -0.4, 0.3
# With a visit's airmass and haze, which blur and dim (rank correlation of stars' concentration with zero point in
# sparse real stamps: 0.3 in g, 0.2 in r); and of the excess with the field's own background, for the brighter the
# template's sky, the less of a visit's noise is beyond its photons (-0.5 in g, -0.3 in r).
ZTF_ZERO_POINT_AIRMASS, ZTF_SEEING_AIRMASS, ZTF_EXCESS_SKY = -0.5, 0.5, -0.4
ZTF_GAP_DAYS = np.array([1, 2, 3, 4, 5, 6, 8, 12, 22])
ZTF_GAP_PROBABILITY = np.array([0.39, 0.23, 0.16, 0.05, 0.04, 0.03, 0.05, 0.03, 0.02])
# Shares of nights with visits in g or r alone. Public alerts come as often in g as in r (51 % g of 12,216 visits in the
# histories of real alerts; 23 and 19 % of their nights in one alone), as the public survey sees a field in both (Bellm
# et al. 2019, PASP 131, 068003); 82 % of nights in g have r in the pointing log of all programmes.
ZTF_G_ALONE, ZTF_R_ALONE = 0.13, 0.24
ZTF_REPEATS = (0.74, 0.15, 0.06, 0.05)  # nights with 1, 2, 3, 4 exposures in one band
LSST_GAP_DAYS = np.array([1, 2, 3, 4, 5, 6, 10, 17, 30])
LSST_GAP_PROBABILITY = np.array([0.28, 0.16, 0.13, 0.08, 0.06, 0.05, 0.13, 0.07, 0.04])
LSST_VISITS = np.array([49, 70, 194, 199, 169, 173])  # per band in ten years
LSST_PAIR_CHANCE = 0.75  # of a second visit in the same night, half an hour later, mostly in a neighbouring band
LSST_SECOND_PAIR_CHANCE = 0.35
LSST_DEPTH_SIGMA_MAG = np.array([0.33, 0.40, 0.42, 0.44, 0.36, 0.33])  # half of 84 % - 16 %
SEEING_DEPTH_CORRELATION = 0.6  # bad seeing costs depth
EXPOSURE_S = 30.0


def draw_schedule(survey: Survey, rng: Generator, origin_mjd: float, level: int = 4) -> Schedule:
    """Draw when and how one position is observed.

    Parameters
    ----------
    origin_mjd
        Start of the window of ``survey.window_days``, MJD (TAI).
    level
        Below 1 every visit has the survey's median depth and seeing; below 3 SDSS misses no band.

    Returns
    -------
    Schedule
        In time order, times in MJD (TAI).
    """
    night_N, visits = {"sdss": _sdss_nights, "ztf": _ztf_nights, "lsst": _lsst_nights}[survey.name](
        survey, rng, origin_mjd, level
    )
    time_T, band_T, night_T = visits
    conditions = {"sdss": _sdss_conditions, "ztf": _ztf_conditions, "lsst": _lsst_conditions}[survey.name]
    depth_NB, fwhm_NB, zero_point_NB, sky_NB = conditions(survey, rng, len(night_N))
    if level < 1:
        depth_NB = np.broadcast_to(survey.depth_mag_B, depth_NB.shape)
        fwhm_NB = np.broadcast_to(survey.fwhm_arcsec_B, fwhm_NB.shape)
    order = np.argsort(time_T, kind="stable")
    row_T, band_T = np.searchsorted(night_N, night_T[order]), band_T[order]
    return Schedule(
        time_T=time_T[order],
        band_T=band_T.astype(np.int8),
        night_T=night_T[order].astype(np.float64),
        depth_T=depth_NB[row_T, band_T].astype(np.float32),
        fwhm_T=fwhm_NB[row_T, band_T].astype(np.float32),
        zero_point_T=zero_point_NB[row_T, band_T].astype(np.float32),
        sky_T=sky_NB[row_T, band_T].astype(np.float32),
    )


def noise_njy_per_pixel(depth_mag: NDArray, fwhm_arcsec: NDArray, pixel_arcsec: float) -> NDArray[np.float64]:
    """Background noise of a pixel from the 5-sigma depth and a Gaussian PSF's noise-equivalent area."""
    area_px = 2.266 * (np.asarray(fwhm_arcsec) / pixel_arcsec) ** 2
    return flux_njy(depth_mag) / (5 * np.sqrt(area_px))


Visits = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def _renewal_nights(rng: Generator, gaps: NDArray, probability: NDArray, days: float, start: float) -> NDArray:
    """Integer nights from ``start`` to ``days`` with gaps drawn from a table."""
    count = int(days / (gaps @ probability / probability.sum()) * 1.6) + 12
    night_N = np.floor(start) + np.r_[0, np.cumsum(rng.choice(gaps, count, p=probability / probability.sum()))]
    return night_N[night_N < days].astype(np.int64)


def _sdss_nights(survey: Survey, rng: Generator, origin_mjd: float, level: int) -> tuple[NDArray, Visits]:
    gaps = np.arange(1, len(SDSS_GAP_PROBABILITY) + 1)
    probability = SDSS_GAP_PROBABILITY * np.exp(SDSS_SINGLE_STRIP_TILT * gaps)
    strips = 2 if rng.random() < SDSS_OVERLAP_FRACTION else 1
    end = survey.window_days + SDSS_NIGHT_MARGIN_DAYS
    night_N = np.unique(
        np.concatenate([_renewal_nights(rng, gaps, probability, end, rng.uniform(0, 4)) for _ in range(strips)])
    )
    missing_B = np.array([SDSS_MISSING[band] for band in survey.bands])
    kept_NB = rng.random((len(night_N), len(missing_B))) >= (missing_B if level >= 3 else 0.0)
    kept_NB[~kept_NB.any(axis=1), 2] = True
    row_T, band_T = np.nonzero(kept_NB)
    offset_B = np.array([SDSS_OFFSET_S[band] for band in survey.bands]) / SECONDS_PER_DAY
    hour_N = rng.uniform(0.1, 0.45, len(night_N))  # Universal Time at Apache Point, as a fraction of a day
    time_T = origin_mjd + night_N[row_T] + hour_N[row_T] + offset_B[band_T]
    return night_N, (time_T, band_T, night_N[row_T])


def _sdss_conditions(survey: Survey, rng: Generator, nights: int) -> tuple[NDArray, ...]:
    correlated_NB = rng.standard_normal((nights, 5)) @ np.linalg.cholesky(SDSS_DEPTH_CORRELATION).T
    uniform_NB = ndtr(correlated_NB)
    depth_NB = _six(np.stack([np.interp(uniform_NB[:, b], SDSS_DEPTH_PERCENT, SDSS_DEPTH_MAG[b]) for b in range(5)], 1))
    seeing_N1 = np.exp(0.18 * rng.standard_normal((nights, 1)))
    fwhm_NB = survey.fwhm_arcsec_B * seeing_N1 * np.exp(0.05 * rng.standard_normal((nights, 6)))
    zero_point_NB = survey.zero_point_mag_B + 0.02 * rng.standard_normal((nights, 6))
    noise_NB = noise_njy_per_pixel(depth_NB, fwhm_NB, survey.pixel_arcsec)
    return depth_NB, fwhm_NB, zero_point_NB, 0.05 * noise_NB * rng.standard_normal((nights, 6))


def _season(rng: Generator, days: float, length: float, gap: float) -> NDArray[np.bool_]:
    """Which days of a window are in season; the phase of the year is random."""
    phase = rng.uniform(0, length + gap)
    return (np.arange(int(days)) + phase) % (length + gap) < length


def _ztf_nights(survey: Survey, rng: Generator, origin_mjd: float, level: int) -> tuple[NDArray, Visits]:
    in_season = _season(
        rng, survey.window_days, np.clip(rng.normal(218, 45), 120, 320), np.clip(rng.normal(100, 30), 40, 180)
    )
    pace = np.exp(0.5 * rng.standard_normal())  # fields differ by a factor of five in visits
    probability = ZTF_GAP_PROBABILITY * ZTF_GAP_DAYS ** (-np.log(pace))
    night_N = _renewal_nights(rng, ZTF_GAP_DAYS, probability, survey.window_days, rng.uniform(0, 5))
    night_N = night_N[in_season[night_N]]
    bands, nights, times = [], [], []
    start_N = origin_mjd + night_N + rng.uniform(0.1, 0.35, len(night_N))
    drawn_N = rng.random(len(night_N))
    for band, seen_N in (
        ("g", drawn_N < 1 - ZTF_R_ALONE),
        ("r", drawn_N > ZTF_G_ALONE),
        ("i", rng.random(len(night_N)) < 0.12),
    ):
        delay_N = {"g": 0.0, "r": 62.0, "i": 20.0}[band] * np.exp(0.5 * rng.standard_normal(len(night_N))) / 1440
        repeat_N = rng.choice(len(ZTF_REPEATS), len(night_N), p=ZTF_REPEATS) + 1
        for visit in range(1, len(ZTF_REPEATS) + 1):
            rows = seen_N & (repeat_N >= visit)
            times.append((start_N + delay_N + (visit - 1) * rng.uniform(0.02, 0.1, len(night_N)))[rows])
            nights.append(night_N[rows])
            bands.append(np.full(rows.sum(), BANDS.index(band)))
    return night_N, (np.concatenate(times), np.concatenate(bands), np.concatenate(nights))


def _ztf_conditions(survey: Survey, rng: Generator, nights: int) -> tuple[NDArray, ...]:
    common_N1 = rng.standard_normal((nights, 1))

    airmass_NB = rng.standard_normal((nights, 6))
    sky_B = (rng.standard_normal() + 0.3 * rng.standard_normal(6)) / np.hypot(1, 0.3)

    def along(night: float, airmass: float = 0.0, sky: float = 0.0) -> NDArray:
        own_NB = np.sqrt(1 - night**2 - airmass**2 - sky**2) * rng.standard_normal((nights, 6))
        return np.asarray(ndtr(night * common_N1 + airmass * airmass_NB + sky * sky_B + own_NB))

    drawn = {
        "excess": (ZTF_EXCESS, along(ZTF_EXCESS_NIGHT, sky=ZTF_EXCESS_SKY)),
        "fwhm": (ZTF_FWHM_ARCSEC, along(ZTF_SEEING_NIGHT, ZTF_SEEING_AIRMASS)),
        "zero_point": (ZTF_ZERO_POINT_MAG, along(ZTF_ZERO_POINT_NIGHT, ZTF_ZERO_POINT_AIRMASS)),
        # Published backgrounds are those of the template: the same at every visit of a position.
        "sky": (ZTF_SKY_DN, np.broadcast_to(ndtr(sky_B), (nights, 6))),
    }
    table = {name: np.full((nights, 6), np.nan) for name in drawn}
    for name, (quantiles, uniform_NB) in drawn.items():
        for band in survey.bands:
            b = BANDS.index(band)
            table[name][:, b] = np.interp(uniform_NB[:, b], PERCENT, quantiles[band])
    sky_njy_NB = table["sky"] * flux_njy(ZTF_SKY_ZERO_POINT_MAG)
    variance_NB = sky_njy_NB / flux_njy(table["zero_point"]) / survey.gain_B + ZTF_READ_VARIANCE_DN2
    variance_NB *= np.exp(table["excess"])
    camera = CAMERAS[survey.name]
    area_NB = psf.noise_equivalent_area(table["fwhm"] / survey.pixel_arcsec, camera.psf)
    depth_NB = table["zero_point"] - 2.5 * np.log10(5 * np.sqrt(variance_NB * area_NB))
    return depth_NB - camera.limit_margin_mag(table["fwhm"]), table["fwhm"], table["zero_point"], sky_njy_NB


def _lsst_nights(survey: Survey, rng: Generator, origin_mjd: float, level: int) -> tuple[NDArray, Visits]:
    in_season = _season(rng, survey.window_days, np.clip(rng.normal(183, 30), 120, 260), 182.0)
    night_N = _renewal_nights(rng, LSST_GAP_DAYS, LSST_GAP_PROBABILITY, survey.window_days, rng.uniform(0, 5))
    night_N = night_N[in_season[night_N]]
    share_B = LSST_VISITS / LSST_VISITS.sum()
    start_N = origin_mjd + night_N + rng.uniform(0.0, 0.3, len(night_N))
    again_N = rng.random(len(night_N)) < LSST_SECOND_PAIR_CHANCE
    pairs = [
        _lsst_pairs(rng, share_B, start_N, night_N),
        _lsst_pairs(rng, share_B, start_N[again_N] + rng.uniform(0.04, 0.1, again_N.sum()), night_N[again_N]),
    ]
    time_T, band_T, night_T = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return night_N, (time_T, band_T, night_T)


def _lsst_pairs(rng: Generator, share_B: NDArray, start_N: NDArray, night_N: NDArray) -> Visits:
    """One visit at each time, and half an hour later most often another, in the same or a neighbouring band."""
    first_N = rng.choice(len(share_B), len(night_N), p=share_B)
    second_N = np.clip(first_N + rng.choice([-1, 0, 1], len(night_N), p=[0.3, 0.2, 0.5]), 0, 5)
    later_N = start_N + rng.uniform(0.015, 0.03, len(night_N))
    paired_N = rng.random(len(night_N)) < LSST_PAIR_CHANCE
    return (
        np.r_[start_N, later_N[paired_N]],
        np.r_[first_N, second_N[paired_N]],
        np.r_[night_N, night_N[paired_N]],
    )


def _lsst_conditions(survey: Survey, rng: Generator, nights: int) -> tuple[NDArray, ...]:
    common_N1 = rng.standard_normal((nights, 1))
    x_NB = 0.7 * common_N1 + np.sqrt(1 - 0.7**2) * rng.standard_normal((nights, 6))
    depth_NB = survey.depth_mag_B + LSST_DEPTH_SIGMA_MAG * x_NB
    seeing_N1 = -SEEING_DEPTH_CORRELATION * common_N1
    seeing_N1 = seeing_N1 + np.sqrt(1 - SEEING_DEPTH_CORRELATION**2) * rng.standard_normal((nights, 1))
    fwhm_NB = survey.fwhm_arcsec_B * np.exp(0.20 * seeing_N1 + 0.04 * rng.standard_normal((nights, 6)))
    zero_point_NB = np.broadcast_to(survey.zero_point_mag_B, (nights, 6))
    noise_NB = noise_njy_per_pixel(depth_NB, fwhm_NB, survey.pixel_arcsec)
    return depth_NB, fwhm_NB, zero_point_NB, 0.05 * noise_NB * rng.standard_normal((nights, 6))


def _six(values_N5: NDArray) -> NDArray:
    """Add an empty y band."""
    return np.concatenate([values_N5, np.full((len(values_N5), 1), np.nan)], axis=1)
