"""Measurements of a simulated object by the survey's pipeline, at the visits that raise an alert.

Knows no packet format. Alerts are measured on their pixels; the rest of the history, whose pixels nobody will see, is
as the selection measured it.

Legend: ``T`` visits, ``N`` alerts, ``C`` channels science, template, difference, ``H W`` pixels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.simulation.images import photometry
from model.simulation.images import render as products
from model.simulation.sky_records import SimulatedObject
from model.simulation.survey import selection

CHANNELS = ("science", "template", "difference")
DETECTION_SNR = selection.DETECTION_SIGMA


@dataclass(frozen=True, slots=True)
class Observed:
    """One object as a survey's data base would hold it."""

    obj: SimulatedObject
    ra_deg: float
    dec_deg: float
    seed: tuple[int, ...]  # of everything that a packet writer invents
    flux_T: NDArray[np.float32]  # difference flux, nJy
    flux_error_T: NDArray[np.float32]
    detected_T: NDArray[np.bool_]
    visits_N: NDArray[np.int64]  # the alerts
    pixels_NCHW: NDArray[np.float32]  # nJy per pixel, NaN masked
    window_N4: NDArray[np.int16]  # top, bottom, left, right: the part of the stamp that lies on the detector
    sigma_NC: NDArray[np.float32]  # nJy per pixel
    fwhm_N: NDArray[np.float32]  # arcsec
    electrons_per_njy_N: NDArray[np.float32]
    kind: str = "object"  # "object" | "asteroid" | "bogus"


def observe(
    obj: SimulatedObject,
    visits_N: NDArray[np.int64],
    ra_deg: float,
    dec_deg: float,
    size_px: int,
    seed: tuple[int, ...],
    kind: str = "object",
) -> Observed:
    """Take the images of the alerts and measure every visit.

    Parameters
    ----------
    visits_N
        Visits that may raise an alert; those whose pixels fall short of 5 sigma do not.
    """
    flux_T, error_T = selection.measured_flux(obj)
    frames = products.render_frames(obj, size_px, CHANNELS, visits_N, obj.level, np.random.default_rng([*seed, 2]))
    pixels_NCHW = frames.pixels_NCHW
    flux_N, flux_error_N = photometry.of_frames(frames, CHANNELS, obj.survey)
    measured_N = np.isfinite(flux_N)
    flux_T[visits_N[measured_N]] = flux_N[measured_N]
    error_T[visits_N[measured_N]] = flux_error_N[measured_N]
    detected_T = np.abs(flux_T) >= DETECTION_SNR * error_T
    kept_N = measured_N & (detected_T[visits_N] | (kind != "object"))
    if kind == "asteroid":  # it was somewhere else at every other visit
        elsewhere_T = np.ones(len(flux_T), bool)
        elsewhere_T[visits_N] = False
        detected_T &= ~elsewhere_T
    return Observed(
        obj=obj,
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        seed=seed,
        flux_T=flux_T.astype(np.float32),
        flux_error_T=error_T.astype(np.float32),
        detected_T=detected_T,
        visits_N=visits_N[kept_N],
        pixels_NCHW=pixels_NCHW[kept_N],
        window_N4=frames.window_N4[kept_N],
        sigma_NC=frames.sigma_NC[kept_N],
        fwhm_N=frames.fwhm_NC[kept_N, 0],
        electrons_per_njy_N=np.broadcast_to(frames.electrons_per_njy_N, len(visits_N))[kept_N].astype(np.float32),
        kind=kind,
    )
