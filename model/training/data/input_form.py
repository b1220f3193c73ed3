"""Forms in which a network is shown a series: whole, without its constant light, or without its time."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model.series import Series, compact

SOFTENING_NJY = 300.0  # about the noise of a pixel of SDSS
FAINTEST_PERCENT = 20.0  # of the frames of a band: what is taken for the light that never varies


def stacked(series: Series, combine: Callable[..., NDArray]) -> Series:
    """Combine the frames of each band; fluxes are unknown, times are 0.

    Parameters
    ----------
    combine
        ``nanmean``, or ``nanmedian``, which hardly sees a source that was bright for less than half of the frames.
    """
    frames, scales, bands = [], [], []
    for band in np.unique(series.band_T):
        at = series.band_T == band
        pixels = series.pixels_TCHW[at].astype(np.float32) * series.scale_TC[at][..., None, None]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a pixel that was never observed stays NaN
            frame, scale = compact(combine(pixels, axis=0))
        frames.append(frame)
        scales.append(scale)
        bands.append(band)
    unknown = np.full(len(frames), np.nan, np.float32)
    return Series(np.stack(frames), np.stack(scales), np.array(bands, np.int8), np.zeros(len(frames)), unknown, unknown)


def above_faintest(series: Series) -> Series:
    """Take the faint level of each band off its fluxes: photometry of direct images contains the host."""
    return replace(series, flux_T=less_faint_level(series.flux_T, series.band_T, np.isfinite(series.flux_T)))


def less_faint_level(
    flux_T: NDArray[np.float32], band_T: NDArray[np.integer], known_T: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Fluxes less the faint level of those of their band that are known; the others stay what they are."""
    flux_T = flux_T.copy()
    for band in np.unique(band_T[known_T]):
        at = (band_T == band) & known_T
        flux_T[at] -= np.percentile(flux_T[at], FAINTEST_PERCENT)
    return flux_T


def compressed(series: Series) -> Series:
    """Pixels as asinh(flux density / ``SOFTENING_NJY``): bright hosts no longer rule batch statistics."""
    nanojansky = series.pixels_TCHW.astype(np.float32) * series.scale_TC[..., None, None]
    pixels_TCHW = np.arcsinh(nanojansky / SOFTENING_NJY).astype(np.float16)
    return replace(series, pixels_TCHW=pixels_TCHW, scale_TC=np.ones_like(series.scale_TC))


def as_it_is(series: Series) -> Series:
    return series


FORMS: dict[str, Callable[[Series], Series]] = {
    "series": as_it_is,
    "above_faintest": above_faintest,
    "compressed": compressed,
    "mean_stack": partial(stacked, combine=np.nanmean),
    "median_stack": partial(stacked, combine=np.nanmedian),
}
OF_EACH_FRAME = ("series", "compressed")  # forms in which a frame looks the same whatever comes later
