"""Depths, seeing and gains come in, pixel noise goes out; knows no scene and no product.

The noise of a pixel follows from the depth and the seeing together, so that PSF photometry of the image has exactly
the depth the schedule states: ``sigma_pix = F5 / (5 sqrt(NEA))``.
"""

import numpy as np
from numpy.typing import NDArray

from model.simulation import psf
from model.simulation.surveys import flux_njy


def background_sigma(depth_N: NDArray, fwhm_px_N: NDArray, shape: psf.PsfShape) -> NDArray[np.float32]:
    """Standard deviation of a background pixel, nJy, for a 5-sigma point-source depth in AB mag."""
    sigma_N: NDArray = flux_njy(depth_N) / (5 * np.sqrt(psf.noise_equivalent_area(fwhm_px_N, shape)))
    return sigma_N.astype(np.float32)


def peak_area(fwhm_px: float, shape: psf.PsfShape) -> float:
    """Total flux of a point source over its central pixel's, pixels."""
    variance_2 = psf.variances(np.array(fwhm_px), shape) + psf.PIXEL_VARIANCE
    return float(2 * np.pi / (np.array(shape.weights) / variance_2).sum())


def add_source_noise(sigma: float, signal_HW: NDArray[np.float32], electrons_per_njy: float) -> NDArray[np.float32]:
    """Background and photon noise together: variance ``sigma^2 + max(signal, 0) / electrons_per_njy``."""
    variance_HW: NDArray[np.float32] = np.maximum(signal_HW, np.float32(0))
    variance_HW *= np.float32(1 / electrons_per_njy)
    variance_HW += np.float32(sigma**2)
    np.sqrt(variance_HW, out=variance_HW)
    return variance_HW


class CoaddNoise:
    """The noise of one template: the same sky at every visit, resampled to each visit's grid, so that it is correlated.

    Parameters
    ----------
    sigma
        Standard deviation of a pixel after resampling, averaged over sub-pixel positions, nJy.
    """

    SLACK = 3  # pixels that the grids of two visits may be apart

    def __init__(self, rng: np.random.Generator, size_px: int, sigma: float) -> None:
        white = rng.standard_normal((size_px + 2 * self.SLACK, size_px + 2 * self.SLACK), np.float32)
        # Interpolating between neighbours averages: over all sub-pixel positions 2/3 of the variance is left per axis.
        self._noise: NDArray[np.float32] = white * np.float32(sigma * 1.5)
        self._size = size_px

    def resampled(self, x_px: float, y_px: float) -> NDArray[np.float32]:
        """The noise on a grid moved by less than ``SLACK - 1`` pixels."""
        column, row = int(np.floor(x_px)), int(np.floor(y_px))
        fx, fy = np.float32(x_px - column), np.float32(y_px - row)
        start_row, start_column = self.SLACK + row, self.SLACK + column
        window = self._noise[start_row : start_row + self._size + 1, start_column : start_column + self._size + 1]
        along: NDArray[np.float32] = window[:, :-1] * np.float32(1 - fx) + window[:, 1:] * fx
        resampled: NDArray[np.float32] = along[:-1] * np.float32(1 - fy) + along[1:] * fy
        return resampled
