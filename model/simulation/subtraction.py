"""Noise and static light of a visit come in, what image subtraction leaves of them goes out; knows no source."""

import numpy as np
from numpy.typing import NDArray

from model.simulation import noise
from model.simulation.cameras import Camera

MOST_FRESH_NOISE = 0.7  # share of a difference's noise amplitude


def noise_left(
    noise_HW: NDArray[np.float32],
    coadd_HW: NDArray[np.float32],
    sigma: float,
    template_sigma: float,
    left_of_coadd: float,
    camera: Camera,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Noise of the science image and the template after a real subtraction.

    The science image's is filtered, and partly not its own any more; the sum is whitened to the science image's level.
    """
    near, far, diagonal = camera.matching_taps
    drawn_5 = rng.standard_normal(5) * np.repeat(camera.matching_scatter, (2, 2, 1))
    taps_22 = np.array([[near, far], [near, far]]) + drawn_5[:4].reshape(2, 2).T
    share = min(rng.exponential(camera.fresh_noise), MOST_FRESH_NOISE)
    fresh_HW = rng.standard_normal(noise_HW.shape, np.float32) * np.float32(share * sigma)
    left_HW = noise.matched(noise_HW, taps_22, diagonal + drawn_5[4])
    # The filter takes variance out; about half of that the whitening gives back.
    kept = float(np.prod((1 - 2 * taps_22.sum(1)) ** 2 + 2 * (taps_22**2).sum(1)))
    left_HW *= np.float32(np.sqrt(1 - share**2) * kept**-0.25)
    left_HW += fresh_HW
    left_HW -= np.float32(np.exp(camera.template_noise_scatter * rng.standard_normal())) * coadd_HW
    left_HW /= np.float32(np.hypot(1, left_of_coadd * template_sigma / sigma))
    return left_HW


def residual(
    static_HW: NDArray[np.float32], fwhm_px: float, camera: Camera, rng: np.random.Generator
) -> NDArray[np.float32]:
    """What is left of the constant sky: dipoles from misregistration, rings from a PSF matched imperfectly."""
    shift_x, shift_y = rng.normal(0, camera.subtraction_px, 2)
    width = rng.normal(0, camera.subtraction_width) * (fwhm_px / 2.355) ** 2 / 2
    down_HW, across_HW = np.gradient(static_HW)
    laplacian_HW = np.gradient(down_HW, axis=0) + np.gradient(across_HW, axis=1)
    grain_HW = camera.subtraction_grain * rng.standard_normal(static_HW.shape, np.float32) * static_HW
    return (shift_x * across_HW + shift_y * down_HW + width * laplacian_HW + grain_HW).astype(np.float32)
