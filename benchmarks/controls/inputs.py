"""Recorded series with a part of them hidden or reordered.

Legend: ``T`` frames, ``C`` channels, ``H W`` pixels.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.past_photometry import History
from model.series import Series

# Of the disc that holds a source and its photometry. The specification says 3 arcsec, two and a half times the width
# of the PSF of SDSS and more of LSST's; for ZTF, whose seeing reaches 4 arcsec, it would leave the source's wings.
SOURCE_RADIUS_ARCSEC = {"sdss": 3.0, "lsst": 3.0, "ztf": 6.0}
CENTRE_PX = 21
BORDER_PX = 2


def reversed_time(series: Series, history: History | None) -> tuple[Series, History | None]:
    """The last frame first. What packets told comes after it then, and is not read."""
    turned = replace(series[::-1], time_T=series.time_T[-1] - series.time_T[::-1])
    if history is None:
        return turned, None
    return turned, replace(history[::-1], time_P=series.time_T[-1] - history.time_P[::-1])


def without_photometry(series: Series) -> Series:
    """All fluxes unknown."""
    unknown_T = np.full(len(series), np.nan, np.float32)
    return replace(series, flux_T=unknown_T, flux_error_T=unknown_T)


def without_pixels(series: Series) -> Series:
    """All pixels masked."""
    return replace(series, pixels_TCHW=np.full_like(series.pixels_TCHW, np.nan))


def without_centre(series: Series, radius_px: float) -> Series:
    """Pixels about the source masked and its fluxes unknown: what is left is its surroundings."""
    return without_photometry(
        replace(series, pixels_TCHW=np.where(from_centre(series) <= radius_px, np.float16(np.nan), series.pixels_TCHW))
    )


def centre_only(series: Series, size_px: int = CENTRE_PX) -> Series:
    """Pixels outside a central square at the level of the stamp's border, which is its sky."""
    size = series.pixels_TCHW.shape[-1]
    axis = np.abs(np.arange(size) - size // 2)
    outside_HW = np.maximum(axis, axis[:, None]) > size_px // 2
    border_HW = np.ones((size, size), bool)
    border_HW[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = False
    border_TCP = np.ma.masked_invalid(series.pixels_TCHW[..., border_HW].astype(np.float32))
    sky_TC11 = np.ma.median(border_TCP, axis=-1).filled(0.0)[..., None, None]
    return replace(series, pixels_TCHW=np.where(outside_HW, sky_TC11, series.pixels_TCHW).astype(np.float16))


def from_centre(series: Series) -> NDArray[np.float64]:
    """Distance of each pixel from the central one, [H, W]."""
    axis = np.arange(series.pixels_TCHW.shape[-1]) - series.pixels_TCHW.shape[-1] // 2
    return np.hypot(axis, axis[:, None])
