"""A series in, one frame per band out, the mean or the median of its frames: what is left when time is taken away."""

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model.series import Series, compact

STACKS: dict[str, Callable[..., NDArray]] = {"mean": np.nanmean, "median": np.nanmedian}


def stacked(series: Series, how: str) -> Series:
    """Combine the frames of each band; fluxes are unknown, times are 0.

    Parameters
    ----------
    how
        "mean", or "median", which hardly sees a source that was bright for less than half of the frames.
    """
    frames, scales, bands = [], [], []
    for band in np.unique(series.band_T):
        at = series.band_T == band
        pixels = series.pixels_TCHW[at].astype(np.float32) * series.scale_TC[at][..., None, None]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a pixel that was never observed stays NaN
            frame, scale = compact(STACKS[how](pixels, axis=0))
        frames.append(frame)
        scales.append(scale)
        bands.append(band)
    unknown = np.full(len(frames), np.nan, np.float32)
    return Series(np.stack(frames), np.stack(scales), np.array(bands, np.int8), np.zeros(len(frames)), unknown, unknown)
