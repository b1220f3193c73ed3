"""Point-spread function of a seeing FWHM, as a sum of round Gaussians. Knows no survey and no pixel values.

References
----------
Xin et al. 2018, AJ 156, 222: the double Gaussian of SDSS images (eq. 1).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import erf

FWHM_PER_SIGMA = 2.355  # of a Gaussian
PIXEL_VARIANCE = 1 / 12  # variance of a uniform pixel, pixel^2: what integrating over pixels adds to any profile


@dataclass(frozen=True, slots=True)
class PsfShape:
    """``exp(-r^2/2 s1^2) + wing exp(-r^2/2 s2^2)`` up to scale, and a faint wide Gaussian where there is a halo.

    ``effective`` says that a FWHM of this shape is that of the Gaussian with the same noise-equivalent area
    (LSST's FWHM_eff), not the width at half maximum.
    """

    width_ratio: float  # s2 / s1
    wing: float  # height of the second Gaussian over the first
    effective: bool = False
    halo: tuple[float, float] | None = None  # its share of the flux, its sigma over s1; no part of the FWHM

    @property
    def weights(self) -> tuple[float, ...]:
        """Fractions of the flux in the Gaussians."""
        wing_flux = self.wing * self.width_ratio**2
        core = 1 / (1 + wing_flux), wing_flux / (1 + wing_flux)
        if self.halo is None:
            return core
        return *((1 - self.halo[0]) * weight for weight in core), self.halo[0]

    @property
    def widths(self) -> tuple[float, ...]:
        """Sigmas of the Gaussians over the first one's."""
        return (1.0, self.width_ratio) if self.halo is None else (1.0, self.width_ratio, self.halo[1])


@cache
def _fwhm_per_core_sigma(shape: PsfShape) -> float:
    """FWHM of the shape whose first Gaussian has sigma 1."""
    if shape.effective:
        area = float(_noise_area(np.array(shape.widths) ** 2, shape.weights))
        return float(np.sqrt(area / (np.pi / (2 * np.log(2)))))

    def above_half(r: float) -> float:
        height = np.exp(-(r**2) / 2) + shape.wing * np.exp(-(r**2) / 2 / shape.width_ratio**2)
        return float(height - (1 + shape.wing) / 2)

    return 2 * brentq(above_half, 1e-3, 1.2 * max(1.0, shape.width_ratio))


def variances(fwhm: NDArray, shape: PsfShape) -> NDArray[np.float64]:
    """Variances of the Gaussians per axis, ``[..., P]``, in the squared unit of ``fwhm``; no pixel in them."""
    core = np.asarray(fwhm, np.float64) / _fwhm_per_core_sigma(shape)
    return np.stack([(core * width) ** 2 for width in shape.widths], axis=-1)


def _noise_area(variance_P: NDArray, weights: tuple[float, ...]) -> NDArray[np.float64]:
    inverse = sum(
        weights[i] * weights[j] / (2 * np.pi * (variance_P[..., i] + variance_P[..., j]))
        for i in range(len(weights))
        for j in range(len(weights))
    )
    return 1 / inverse


def noise_equivalent_area(fwhm_px: NDArray, shape: PsfShape) -> NDArray[np.float64]:
    """Area in pixels whose background noise equals that of optimal photometry: ``1 / sum P^2``, pixels included."""
    return _noise_area(variances(fwhm_px, shape) + PIXEL_VARIANCE, shape.weights)


def images(
    fwhm_px_N: NDArray, x_N: NDArray, y_N: NDArray, size_HW: tuple[int, int], shape: PsfShape
) -> NDArray[np.float32]:
    """Images ``[N, H, W]`` of point sources of flux 1 at positions in pixels from the central pixel."""
    scale_NP1 = np.sqrt(2 * variances(fwhm_px_N, shape))[..., None]

    def along(position_N: NDArray, size: int) -> NDArray:
        edge = np.arange(size + 1) - (size // 2 + 0.5)
        return 0.5 * np.diff(erf((edge - np.asarray(position_N)[:, None, None]) / scale_NP1), axis=-1)

    across_NPW = along(x_N, size_HW[1]) * np.array(shape.weights)[:, None]
    image_NHW = along(y_N, size_HW[0]).swapaxes(1, 2) @ across_NPW
    return image_NHW.astype(np.float32)
