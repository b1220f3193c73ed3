"""How each survey's images come to be: PSF shape, registration, template, subtraction; knows no schedule and no source.

What a survey publishes of itself (pixels, bands, gain) is in ``surveys``; here is what only the renderer asks.

References
----------
Xin et al. 2018, AJ 156, 222 (double Gaussian of SDSS); Masci et al. 2019, PASP 131, 018003 (ZTF);
LSST SMTN-002 (FWHM_eff).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.simulation.psf import PsfShape
from model.simulation.surveys import flux_njy


@dataclass(frozen=True, slots=True)
class Camera:
    """The image facts of one survey that are not in its table."""

    psf: PsfShape
    saturation_mag: float  # a point source brighter than this saturates under median seeing
    # How much fainter than the published limit 5 sigma of the pixel noise is. ZTF's diffmaglim is conservative.
    limit_margin_mag: float
    subtraction_px: float  # rms misregistration of science and template per axis
    subtraction_width: float  # rms relative mismatch of the PSF's variance in the subtraction
    subtraction_grain: float  # rms of what the matching kernel cannot follow, per pixel, as a fraction of the light
    # What matching the PSFs does to the noise: shares given to neighbours one and two pixels away and to the diagonal
    # ones, mean and scatter over visits.
    matching_taps: tuple[float, float, float]
    matching_scatter: tuple[float, float, float]
    # Mean share of a difference's noise amplitude that is not the science image's own (exponential over visits).
    fresh_noise: float
    template_noise_scatter: float  # log scatter over visits of the template's share in a difference's noise
    template_has_sky: bool  # the published template carries the science stamp's background
    template_gain_mag: tuple[float, float]  # how much deeper the template is than the median visit: mean, sd
    template_fwhm: tuple[float, float]  # FWHM over the median visit's: median, log scatter


CAMERAS = {
    "sdss": Camera(
        psf=PsfShape(2.25, 0.10),
        saturation_mag=14.0,
        limit_margin_mag=0.0,
        subtraction_px=0.1,
        subtraction_width=0.015,
        subtraction_grain=0.005,
        matching_taps=(0.0, 0.0, 0.0),
        matching_scatter=(0.0, 0.0, 0.0),
        fresh_noise=0.0,
        template_noise_scatter=0.0,
        template_has_sky=False,
        template_gain_mag=(1.8, 0.2),
        template_fwhm=(0.95, 0.08),
    ),
    "ztf": Camera(
        psf=PsfShape(2.25, 0.10),
        saturation_mag=12.5,
        limit_margin_mag=0.6,
        subtraction_px=0.07,
        subtraction_width=0.015,
        subtraction_grain=0.03,
        matching_taps=(0.018, -0.008, -0.005),
        matching_scatter=(0.028, 0.018, 0.01),
        fresh_noise=0.2,
        template_noise_scatter=0.5,
        template_has_sky=True,
        template_gain_mag=(1.85, 0.2),
        template_fwhm=(0.88, 0.08),
    ),
    "lsst": Camera(
        psf=PsfShape(2.25, 0.10, effective=True),
        saturation_mag=16.0,
        limit_margin_mag=0.0,
        subtraction_px=0.1,
        subtraction_width=0.015,
        subtraction_grain=0.005,
        matching_taps=(0.0, 0.0, 0.0),
        matching_scatter=(0.01, 0.0, 0.0),
        fresh_noise=0.1,
        template_noise_scatter=0.2,
        template_has_sky=False,
        template_gain_mag=(1.2, 0.3),
        template_fwhm=(0.95, 0.08),
    ),
}


def electrons_per_njy(
    gain_B: NDArray[np.float64], band_T: NDArray[np.integer], zero_point_T: NDArray
) -> NDArray[np.float64]:
    """Electrons that 1 nJy leaves in one visit, per visit."""
    return gain_B[band_T] / flux_njy(zero_point_T)
