"""Series of image frames as numpy keeps them: the one form that data sets, the stream and the networks share.

Legend: ``T`` frames, ``C`` image channels, ``H W`` pixels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BANDS = "ugrizy"
LARGEST_FLOAT16 = 60_000.0  # a little under float16's 65,504
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)  # a fainter frame is dark
MAD_TO_SIGMA = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


@dataclass(frozen=True, slots=True)
class Photometry:
    """The light curve of one object: its frames in time order, without their images. Fields as those of ``Series``."""

    band_T: NDArray[np.int8]
    time_T: NDArray[np.float64]
    flux_T: NDArray[np.float32]
    flux_error_T: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.time_T)

    def with_images(self, pixels_TCHW: NDArray[np.float16], scale_TC: NDArray[np.float32]) -> "Series":
        """The frames whole again."""
        return Series(pixels_TCHW, scale_TC, self.band_T, self.time_T, self.flux_T, self.flux_error_T)


@dataclass(frozen=True, slots=True)
class Series:
    """The frames of one object in time order.

    ``pixels_TCHW * scale_TC[..., None, None]`` is in nJy per pixel; NaN marks masked or padded pixels.
    """

    pixels_TCHW: NDArray[np.float16]
    scale_TC: NDArray[np.float32]  # nJy per pixel
    band_T: NDArray[np.int8]  # index in BANDS
    time_T: NDArray[np.float64]  # MJD (TAI), or days from any epoch: only differences are used
    flux_T: NDArray[np.float32]  # point-source flux, nJy; NaN unknown
    flux_error_T: NDArray[np.float32]  # nJy; NaN unknown

    def __len__(self) -> int:
        return len(self.time_T)

    def __getitem__(self, frames: slice | NDArray) -> "Series":
        return Series(
            self.pixels_TCHW[frames],
            self.scale_TC[frames],
            self.band_T[frames],
            self.time_T[frames],
            self.flux_T[frames],
            self.flux_error_T[frames],
        )

    def groups(self, group_size: int) -> "list[Series]":
        """The frames in groups from the first on, as a network embeds them; the last group may be short."""
        return [self[start : start + group_size] for start in range(0, len(self), group_size)]


def compact(pixels_CHW: NDArray[np.floating]) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Keep a frame in half the bytes: float16 in units of each channel's own noise.

    Parameters
    ----------
    pixels_CHW
        nJy per pixel, NaN where masked.

    Returns
    -------
    pixels_CHW : float16, in units of ``scale_C``, NaN where masked.
    scale_C : float32, nJy per pixel; a robust standard deviation, or more where the brightest pixel would overflow.
    """
    flat_CP = pixels_CHW.reshape(pixels_CHW.shape[0], -1)
    real_CP = np.isfinite(flat_CP)
    # All channels are sorted at once, twice; what is missing comes last.
    ordered_CP = np.sort(flat_CP if real_CP.all() else np.where(real_CP, flat_CP, np.nan), axis=1)
    count_C, row_C = np.count_nonzero(real_CP, axis=1), np.arange(len(flat_CP))
    middle_C1 = _middle(ordered_CP, count_C)[:, None]
    sigma_C = MAD_TO_SIGMA * _middle(np.sort(np.abs(ordered_CP - middle_C1), axis=1), count_C)
    largest_C = np.maximum(np.abs(ordered_CP[:, 0]), np.abs(ordered_CP[row_C, count_C - 1]))
    scale_C = np.maximum(sigma_C, largest_C / LARGEST_FLOAT16, dtype=np.float64)
    scale_C = np.where(scale_C >= SMALLEST_SCALE, scale_C, 1.0).astype(np.float32)  # NaN, of no pixel, is not either
    return (pixels_CHW / scale_C[:, None, None]).astype(np.float16), scale_C


def _middle(ordered_CP: NDArray[np.floating], count_C: NDArray[np.integer]) -> NDArray[np.floating]:
    """The median of the first ``count_C`` of each row of sorted numbers; NaN for none of a row that ends in NaN."""
    row_C = np.arange(len(ordered_CP))
    return (ordered_CP[row_C, (count_C - 1) // 2] + ordered_CP[row_C, count_C // 2]) / 2


def fit_to_size(pixels_CHW: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Crop or pad about the central pixel to ``size`` x ``size``; what was not observed is NaN.

    The pixel with index ``n // 2`` is the centre of an axis of ``n`` pixels, before and after. What is only cropped is
    a view.
    """
    channels, *shape = pixels_CHW.shape
    if min(shape) >= size:
        top, left = (n // 2 - size // 2 for n in shape)
        return pixels_CHW[:, top : top + size, left : left + size]
    fitted_CHW = np.full((channels, size, size), np.nan, np.float32)
    source, target = [], []
    for n in shape:
        start = n // 2 - size // 2
        source.append(slice(max(start, 0), min(start + size, n)))
        target.append(slice(max(-start, 0), max(-start, 0) + min(start + size, n) - max(start, 0)))
    fitted_CHW[:, *target] = pixels_CHW[:, *source]
    return fitted_CHW
