"""Checks 3, 4, 11 and 12: photometry, PSF and flux as asked for; ZTF stamps like the real ones.

The real alerts are read from ``alerts/ztf`` of the shared data; without them checks 11 and 12 are skipped.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.simulation.images import noise_free, photometry, profiles
from model.simulation.images import render as products
from model.simulation.sky_records import Galaxy, Scene, Schedule, SimulatedObject
from model.simulation.survey import psf
from model.simulation.survey.cameras import CAMERAS
from model.simulation.surveys import SURVEYS, Survey, flux_njy
from model.simulation.validation import Check, skipped, within
from model.simulation.validation.stamps.real_or_simulated import real_or_simulated
from model.simulation.validation.stamps.ztf_stamps import ztf_stamps

PULL_MEAN, PULL_SIGMA, LIMIT_MAG = 0.02, 0.03, 0.05
FLUX_ERROR, MOMENT_ERROR = 0.003, 0.01
STAR_SNR = 10.0
STAMP_PX = 31


def image_checks(seed: int, share: float, shared: Path | None) -> Iterator[Check]:
    """Make all image checks.

    Parameters
    ----------
    share
        Of the full number of stamps; a small share makes statistical errors larger, and tolerances with them.
    """
    for survey in SURVEYS.values():
        yield from _photometry(survey, seed, max(round(20_000 * share), 500))
    yield from _point_spread()
    yield from _flux()
    alerts = None if shared is None else shared / "alerts" / "ztf"
    if alerts is None or not alerts.is_dir():
        reason = "no real alerts; set ICTC_SHARED_DATA"
        yield skipped(11, "ZTF stamps: noise, masks and sizes like 817 real alerts", reason)
        yield skipped(12, "AUC of real against simulated ZTF stamps", reason)
        return
    yield from ztf_stamps(alerts, seed, share)
    yield from real_or_simulated(alerts, seed, share)


def _star(survey: Survey, visits: int, snr: float, seed: int) -> SimulatedObject:
    """A constant star under varying seeing and depth, nothing beside it."""
    rng = np.random.default_rng([seed, 3])
    band_T = rng.choice(survey.band_indices, visits)
    depth_T = survey.depth_mag_B[band_T] + 0.3 * rng.standard_normal(visits)
    schedule = Schedule(
        time_T=np.arange(visits, dtype=np.float64),
        band_T=band_T.astype(np.int8),
        night_T=np.arange(visits, dtype=np.float64),
        depth_T=depth_T.astype(np.float32),
        fwhm_T=(survey.fwhm_arcsec_B[band_T] * np.exp(0.15 * rng.standard_normal(visits))).astype(np.float32),
        zero_point_T=survey.zero_point_mag_B[band_T].astype(np.float32),
        sky_T=np.zeros(visits, np.float32),
    )
    margin_B = CAMERAS[survey.name].limit_margin_mag(survey.fwhm_arcsec_B)
    flux_B = snr * flux_njy(survey.depth_mag_B + margin_B) / 5
    none_B = np.zeros(len(flux_B), np.float32)
    flux_T = flux_B[band_T].astype(np.float32)
    return SimulatedObject(1, seed, survey, "Variable", schedule, flux_T, none_B, Scene(), {})


def _measure(survey: Survey, obj: SimulatedObject, seed: int) -> tuple[NDArray, NDArray]:
    flux, error = [], []
    visits = np.arange(len(obj.flux_T))
    for start in range(0, len(visits), products.DRAW_CHUNK):  # the stamps of all visits need not be kept
        part = visits[start : start + products.DRAW_CHUNK]
        frames = products.render_frames(obj, STAMP_PX, ("science",), part, 2, np.random.default_rng(seed))
        measured = photometry.forced(
            frames.pixels_NCHW[:, 0],
            frames.fwhm_NC[:, 0] / survey.pixel_arcsec,
            frames.sigma_NC[:, 0],
            frames.x_N,
            frames.y_N,
            CAMERAS[survey.name].psf,
            frames.electrons_per_njy_N,
        )
        flux.append(measured[0])
        error.append(measured[1])
    return np.concatenate(flux), np.concatenate(error)


def _photometry(survey: Survey, seed: int, visits: int) -> Iterator[Check]:
    star = _star(survey, visits, STAR_SNR, seed)
    flux_T, error_T = _measure(survey, star, seed)
    pull_T = (flux_T - star.flux_T) / error_T
    mean, sigma, noise = float(pull_T.mean()), float(pull_T.std()), 3 / np.sqrt(visits)
    name = f"constant star in {survey.name}"
    mean_within, sigma_within = max(PULL_MEAN, noise), max(PULL_SIGMA, noise)
    yield Check(3, f"{name}: mean pull", f"0 ± {mean_within:.3f}", f"{mean:+.3f}", within(mean, 0, mean_within))
    yield Check(3, f"{name}: sd of pulls", f"1 ± {sigma_within:.3f}", f"{sigma:.3f}", within(sigma, 1, sigma_within))
    empty = _star(survey, visits, 0.0, seed + 1)
    flux_T, _ = _measure(survey, empty, seed + 1)
    margin_T = CAMERAS[survey.name].limit_margin_mag(empty.schedule.fwhm_T)
    limit_T = flux_njy(empty.schedule.depth_T + margin_T) / 5
    shallower = float(2.5 * np.log10(np.std(flux_T / limit_T)))
    yield Check(
        3,
        f"empirical 5-sigma limit in {survey.name} - the input's",
        f"0 ± {LIMIT_MAG} mag",
        f"{-shallower:+.3f} mag",
        within(shallower, 0, LIMIT_MAG),
    )


def _point_spread() -> Iterator[Check]:
    """Second moments and noise-equivalent area of drawn point sources."""
    size, axis = 201, np.arange(201) - 100
    for survey in SURVEYS.values():
        shape = CAMERAS[survey.name].psf
        fwhm_px = np.nanmedian(survey.fwhm_arcsec_B) / survey.pixel_arcsec * np.array([0.8, 1.0, 1.5])
        zero = np.zeros(3)
        image_NHW = psf.images(fwhm_px, zero, zero, (size, size), shape).astype(np.float64)
        moment_N = (image_NHW.sum(1) * axis**2).sum(1)
        expected_N = psf.variances(fwhm_px, shape) @ np.array(shape.weights) + psf.PIXEL_VARIANCE
        worst = float(np.abs(moment_N / expected_N - 1).max())
        target = f"< {MOMENT_ERROR:.0%}"
        yield Check(4, f"PSF of {survey.name}: second moment off", target, f"{worst:.2%}", worst < MOMENT_ERROR)
        area_N = 1 / (image_NHW**2).sum((1, 2))
        off = float(np.abs(area_N / psf.noise_equivalent_area(fwhm_px, shape) - 1).max())
        yield Check(4, f"PSF of {survey.name}: noise-equivalent area off", target, f"{off:.2%}", off < MOMENT_ERROR)


def _flux() -> Iterator[Check]:
    """Flux in a large stamp over the flux asked for."""
    flux_B = np.full(6, 1e4, np.float32)
    scenes = {
        "point source": (Scene(), np.array([1e4])),
        "disc": (Scene((Galaxy(flux_B, 2.0, 1.0, 0.5, 0.4, 0.1, 0.0),)), None),
        "spheroid": (Scene((Galaxy(flux_B, 1.0, 4.0, 0.8, 0.4, 0.1, 0.0),)), None),
    }
    for name, (scene, flux_N) in scenes.items():
        one = np.ones(1)
        shape = CAMERAS["sdss"].psf
        parts = profiles.of_scene(
            scene, flux_N, profiles.Exposures(np.array([2]), 1.4 * one, 0.3 * one, 0.2 * one, shape, 0.396, (1.4, 1.4))
        )
        lost = abs(float(noise_free.render_images(*parts, 201).sum()) / 1e4 - 1)
        yield Check(4, f"flux lost, {name}", f"< {FLUX_ERROR:.1%}", f"{lost:.3%}", lost < FLUX_ERROR)
