"""Point-source fluxes and errors, measured on stamps of known seeing and noise. Knows no truth.

Forced photometry: the PSF is fitted at a given position, so a flux may be negative and no detection is needed.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.simulation.images.render import VisitStamps
from model.simulation.survey import psf
from model.simulation.survey.cameras import CAMERAS
from model.simulation.survey.published_errors import ztf_error
from model.simulation.surveys import Survey

LEAST_WEIGHT = 0.5  # of the PSF's squared weight that must lie on real pixels


def forced(
    pixels_NHW: NDArray[np.float32],
    fwhm_px_N: NDArray,
    sigma_N: NDArray,
    x_N: NDArray,
    y_N: NDArray,
    shape: psf.PsfShape,
    electrons_per_njy_N: NDArray | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit a point source to each stamp, all pixels weighing alike.

    Parameters
    ----------
    pixels_NHW
        nJy per pixel, background subtracted, NaN where there is no measurement.
    sigma_N
        Standard deviation of a background pixel, nJy.
    x_N, y_N
        Where to fit, pixels from the central pixel.
    electrons_per_njy_N
        For the photon noise of what is in the stamp; None leaves it out of the error.

    Returns
    -------
    flux_N, error_N : nJy; NaN where too few pixels are real.
    """
    real_NHW = np.isfinite(pixels_NHW)
    psf_NHW = psf.images(fwhm_px_N, x_N, y_N, pixels_NHW.shape[1:], shape)
    squared_NHW = np.where(real_NHW, psf_NHW**2, 0)
    pixels_NHW = np.where(real_NHW, pixels_NHW, 0)
    weight_N = squared_NHW.sum((1, 2))
    enough_N = weight_N > LEAST_WEIGHT * (psf_NHW**2).sum((1, 2))
    safe_N = np.where(enough_N, weight_N, 1)
    flux_N = np.einsum("nhw,nhw->n", psf_NHW, pixels_NHW) / safe_N
    variance_N = np.asarray(sigma_N, np.float64) ** 2 / safe_N
    if electrons_per_njy_N is not None:
        light_N = np.einsum("nhw,nhw->n", squared_NHW, np.maximum(pixels_NHW, 0))
        variance_N = variance_N + light_N / electrons_per_njy_N / safe_N**2
    flux_N, error_N = np.where(enough_N, flux_N, np.nan), np.where(enough_N, np.sqrt(variance_N), np.nan)
    return flux_N.astype(np.float32), error_N.astype(np.float32)


def of_frames(
    frames: VisitStamps, channels: Sequence[str], survey: Survey
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Photometry at the position the survey believes in: of the difference if it is there, else of the first channel.

    The published background of a science stamp is taken off first, as surveys do; a host's light stays in.

    Returns
    -------
    flux_N, error_N : nJy; NaN where too few pixels are real.
    """
    channel = channels.index("difference") if "difference" in channels else 0
    pixels_NHW = frames.pixels_NCHW[:, channel]
    if channels[channel] == "science":
        pixels_NHW = pixels_NHW - frames.background_N[:, None, None]
    camera, pixel_arcsec = CAMERAS[survey.name], survey.pixel_arcsec
    as_ztf = survey.name == "ztf" and channels[channel] == "difference"
    where = frames.catalogue_x_N, frames.catalogue_y_N, camera.psf
    flux_N, error_N = forced(
        pixels_NHW,
        frames.fwhm_NC[:, channel] / pixel_arcsec,
        frames.sigma_NC[:, channel],
        *where,
        None if as_ztf else frames.electrons_per_njy_N,
    )
    if not as_ztf:
        return flux_N, error_N
    static_N, seeing_N = np.zeros_like(flux_N), frames.fwhm_NC[:, channel]
    if "template" in channels:
        channel = channels.index("template")
        sky_N = frames.background_N if camera.template_has_sky else np.zeros_like(frames.background_N)
        template_NHW = frames.pixels_NCHW[:, channel] - sky_N[:, None, None]
        fwhm_px_N, sigma_N = frames.fwhm_NC[:, channel] / pixel_arcsec, frames.sigma_NC[:, channel]
        static_N = np.nan_to_num(forced(template_NHW, fwhm_px_N, sigma_N, *where)[0])
    limit_N = error_N * 10 ** (0.4 * camera.limit_margin_mag(seeing_N))
    return flux_N, ztf_error(flux_N, static_N, limit_N).astype(np.float32)
