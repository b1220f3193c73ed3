"""Cameras of the surveys: PSF shape, registration, template, subtraction; knows no schedule and no source.

What a survey publishes of itself (pixels, bands, gain) is in ``surveys``; here is what only the renderer asks. ZTF's
numbers are set so that ``python -m model.simulation.validation.measure_ztf`` finds in simulated stamps what it finds in
817 real alerts: concentration and elongation of stars, what is left of them, the filters of its differences, the
noise and the slope of its templates.

References
----------
Xin et al. 2018, AJ 156, 222 (double Gaussian of SDSS); Masci et al. 2019, PASP 131, 018003 (ZTF);
LSST SMTN-002 (FWHM_eff).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.simulation.survey.psf import PsfShape
from model.simulation.surveys import flux_njy


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """The image facts of one survey that are not in its table."""

    psf: PsfShape
    saturation_mag: float  # a point source brighter than this saturates under median seeing
    # How much fainter than the published limit 5 sigma of the pixel noise is, under a seeing of 2 arcsec and per dex of
    # FWHM. ZTF's diffmaglim is conservative, and depends less on seeing than photon statistics would have it.
    limit_margin: tuple[float, float] = (0.0, 0.0)
    subtraction_px: float  # rms misregistration of science and template per axis
    subtraction_width: float  # rms relative mismatch of the PSF's variance in the subtraction
    subtraction_grain: float  # rms of what the matching kernel cannot follow, per pixel, as a fraction of the light
    subtraction_grain_scatter: float = 0.0  # of its logarithm, from visit to visit
    subtraction_grain_px: float = 0.0  # over which it is alike, sigma
    subtraction_reach_px: float = 0.0  # how far such errors of the PSF's model reach beyond the light, sigma
    # Error of the measured noise ratio of template and science image: mean and rms of its logarithm.
    noise_ratio_error: tuple[float, float] = (0.0, 0.0)
    # Phase that a skewed PSF leaves in a difference, along x and y: the shift in pixels at 0.4 cycles per pixel.
    psf_skew_px: tuple[float, float] = (0.0, 0.0)
    psf_skew_sd_px: tuple[float, float] = (0.0, 0.0)
    psf_contrast_sd: float = 0.0  # rms error of the power of the ratio of the PSFs' transfers that the subtraction sees
    # Where a template's transfer falls to a half along x and y, cycles per pixel; steepness.
    resampling: tuple[float, float, float] | None = None
    # A star is longer along some direction than across: root of the difference of its variances over the core's sigma,
    # median in science images and in templates, log scatter.
    elongation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    # Rms slope of the background per axis across 63 pixels, in units of the template's noise: median, log scatter, and
    # the stars in a scene that double it (nebulae and unresolved stars lie where the Milky Way is).
    template_tilt: tuple[float, float, float] | None = None
    template_frames: int | None = None  # resampled frames that a template averages; None for one
    template_has_sky: bool  # the published template carries the science stamp's background
    template_gain_mag: tuple[float, float]  # how much deeper the template is than the median visit: mean, sd
    # Where templates have their sky: how many visits' photons they hold (median of each band, log scatter); else None,
    # and the gain in depth counts.
    template_visits: tuple[dict[str, float], float] | None = None
    template_fwhm: tuple[float, float]  # FWHM over the median visit's: median, log scatter

    def limit_margin_mag(self, fwhm_arcsec: NDArray) -> NDArray[np.float64]:
        """By how much 5 sigma of the pixel noise is fainter than the published limit."""
        at_two, per_dex = self.limit_margin
        return at_two + per_dex * np.log10(np.asarray(fwhm_arcsec, np.float64) / 2)


CAMERAS = {
    "sdss": Camera(
        psf=PsfShape(2.25, 0.10),
        saturation_mag=14.0,
        subtraction_px=0.1,
        subtraction_width=0.015,
        subtraction_grain=0.005,
        template_has_sky=False,
        template_gain_mag=(1.8, 0.2),
        template_fwhm=(0.95, 0.08),
    ),
    "ztf": Camera(
        psf=PsfShape(2.25, 0.10, halo=(0.05, 4.5)),
        saturation_mag=12.5,
        limit_margin=(0.74, -1.15),
        subtraction_px=0.04,
        subtraction_width=0.008,
        subtraction_grain=0.08,
        subtraction_grain_scatter=0.35,
        subtraction_grain_px=0.6,
        subtraction_reach_px=1.2,
        noise_ratio_error=(0.15, 0.25),
        psf_skew_px=(-0.02, 0.09),
        psf_skew_sd_px=(0.03, 0.04),
        psf_contrast_sd=0.18,
        resampling=(0.485, 0.515, 8.0),
        elongation=(0.54, 0.46, 0.35),
        template_tilt=(0.13, 0.9, 50.0),
        template_frames=6,
        template_has_sky=True,
        template_gain_mag=(1.95, 0.25),
        template_visits=({"g": 13.5, "r": 18.0, "i": 18.0}, 0.3),
        template_fwhm=(1.02, 0.05),
    ),
    "lsst": Camera(
        psf=PsfShape(2.25, 0.10, effective=True),
        saturation_mag=16.0,
        subtraction_px=0.1,
        subtraction_width=0.015,
        subtraction_grain=0.005,
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
