"""Gaussians and point sources of a scene, in pixels, under the conditions of each visit. Draws no pixel.

Legend: ``N`` images, ``K`` Gaussians, ``S`` point sources, ``P`` the Gaussians of the PSF, ``B`` bands.
Both renderers draw exactly these numbers, so they agree by construction.
Positions are in pixels from the centre of the stamp's central pixel (index ``n // 2``), x along columns, y along rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.simulation.images import sersic
from model.simulation.sky_records import Galaxy, Scene, Star
from model.simulation.survey import psf

# Gaussians of a galaxy narrower than this fraction of the PSF's core are drawn as one (error below 1e-3 of peak).
UNRESOLVED = 0.08
REACH_SIGMA = 5.0  # beyond it a Gaussian is below 4e-6 of its own peak
LARGEST_SHIFT_PX = 3.0  # of a visit: cut, registration, centroid error


@dataclass(frozen=True, slots=True)
class Gaussians:
    """Elliptical Gaussians after PSF and pixel: ``flux sqrt(ac - b^2) / 2 pi * exp(-(ax^2 + 2bxy + cy^2) / 2)``."""

    flux_NK: NDArray[np.float32]  # nJy, not negative
    x_NK: NDArray[np.float32]
    y_NK: NDArray[np.float32]
    a_NK: NDArray[np.float32]  # pixel^-2
    b_NK: NDArray[np.float32]
    c_NK: NDArray[np.float32]
    box_K4: NDArray[np.int64]  # rows from:to, columns from:to beyond which it is dark; pixels from the central pixel


@dataclass(frozen=True, slots=True)
class Points:
    """Point sources, drawn by exact integrals of the PSF over pixels."""

    flux_NS: NDArray[np.float32]  # nJy, of either sign
    x_NS: NDArray[np.float32]
    y_NS: NDArray[np.float32]
    sigma_NP: NDArray[np.float32]  # pixels
    weight_P: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Exposures:
    """N images of one scene: their bands, seeing and places."""

    band_N: NDArray[np.integer]
    fwhm_N: NDArray  # arcsec
    x_N: NDArray  # where the varying source, the origin of the scene, falls; pixels from the central pixel
    y_N: NDArray
    shape: psf.PsfShape
    arcsec_per_px: float
    # The smallest and the largest FWHM (arcsec) that the object is ever seen with. They decide what is unresolved and
    # how far a Gaussian reaches, so that an image does not depend on which others are drawn with it.
    seeing_arcsec: tuple[float, float]
    # Vectors d in pixels along which the PSF is longer: d d^T is added to its covariance, and as much taken off in
    # every direction that its size stays; None for a round PSF.
    elongation_N2: NDArray | None = None

    @property
    def psf_variances_NP(self) -> NDArray[np.float64]:  # noqa: N802 - shapes are suffixes
        """Of the Gaussians of each image's round PSF, pixel^2."""
        return psf.variances(np.asarray(self.fwhm_N, np.float64) / self.arcsec_per_px, self.shape)


def _split(galaxy: Galaxy, core_variance_px: float, arcsec_per_px: float) -> tuple[NDArray, NDArray]:
    """Fractions of flux and variances of the major axis (pixel^2), the unresolved ones lumped."""
    flux_K, variance_K = sersic.gaussians(galaxy.sersic_index)
    variance_K = variance_K * (galaxy.half_light_arcsec / arcsec_per_px) ** 2
    point_like = variance_K < UNRESOLVED * core_variance_px
    if point_like.sum() > 1:
        lump = flux_K[point_like].sum()
        mean = (flux_K[point_like] * variance_K[point_like]).sum() / lump
        flux_K = np.append(flux_K[~point_like], lump)
        variance_K = np.append(variance_K[~point_like], mean)
    return flux_K, variance_K


def galaxies(scene_galaxies: tuple[Galaxy, ...], taken: Exposures) -> Gaussians:
    """Convolve the galaxies with each visit's PSF."""
    if not scene_galaxies:
        none = np.zeros((len(taken.band_N), 0), np.float32)
        return Gaussians(none, none, none, none, none, none, np.zeros((0, 4), np.int64))
    shape, arcsec_per_px, elongation_N2 = taken.shape, taken.arcsec_per_px, taken.elongation_N2
    psf_NP = taken.psf_variances_NP
    if elongation_N2 is not None:
        psf_NP = psf_NP - (elongation_N2**2).sum(1, keepdims=True) / 2
    core = float(psf.variances(np.array(taken.seeing_arcsec[0] / arcsec_per_px), shape)[0])
    softest_P = psf.variances(np.array(taken.seeing_arcsec[1] / arcsec_per_px), shape)
    flux, dx, dy = [], [], []
    covariance: list[tuple[NDArray, NDArray, NDArray]] = []  # of each Gaussian of the PSF
    box: list[NDArray[np.int64]] = []
    for galaxy in scene_galaxies:
        flux_K, variance_K = _split(galaxy, core, arcsec_per_px)
        x, y = galaxy.x_arcsec / arcsec_per_px, galaxy.y_arcsec / arcsec_per_px
        for p, weight in enumerate(shape.weights):
            round_N1 = psf_NP[:, p, None] + psf.PIXEL_VARIANCE
            covariance.append(_covariance(galaxy, variance_K, round_N1, elongation_N2))
            flux.append(weight * flux_K * np.asarray(galaxy.flux_B, np.float64)[taken.band_N][:, None])
            dx.append(np.full(flux[-1].shape, x))
            dy.append(np.full(flux[-1].shape, y))
            reach_K = REACH_SIGMA * np.sqrt(variance_K + softest_P[p] + psf.PIXEL_VARIANCE) + LARGEST_SHIFT_PX
            edges = (y - reach_K, y + reach_K + 1, x - reach_K, x + reach_K + 1)
            box.append(np.stack([np.floor(edge) for edge in edges], axis=1).astype(np.int64))
    xx_NK, xy_NK, yy_NK = (np.concatenate(part, axis=1) for part in zip(*covariance, strict=True))
    determinant_NK = xx_NK * yy_NK - xy_NK**2
    return Gaussians(
        np.concatenate(flux, axis=1).astype(np.float32),
        (np.concatenate(dx, axis=1) + np.asarray(taken.x_N)[:, None]).astype(np.float32),
        (np.concatenate(dy, axis=1) + np.asarray(taken.y_N)[:, None]).astype(np.float32),
        (yy_NK / determinant_NK).astype(np.float32),
        (-xy_NK / determinant_NK).astype(np.float32),
        (xx_NK / determinant_NK).astype(np.float32),
        np.concatenate(box),
    )


def _covariance(
    galaxy: Galaxy, variance_K: NDArray, round_N1: NDArray, elongation_N2: NDArray | None
) -> tuple[NDArray, NDArray, NDArray]:
    """Covariance xx, xy, yy [N, K] of a galaxy's Gaussians behind one Gaussian of the PSF."""
    cos, sin = np.cos(galaxy.position_angle_rad), np.sin(galaxy.position_angle_rad)
    minor_K = variance_K * galaxy.axis_ratio**2
    xx_NK = variance_K * cos**2 + minor_K * sin**2 + round_N1
    yy_NK = variance_K * sin**2 + minor_K * cos**2 + round_N1
    xy_NK = np.broadcast_to((variance_K - minor_K) * sin * cos, xx_NK.shape)
    if elongation_N2 is None:
        return xx_NK, xy_NK, yy_NK
    across_N1, down_N1 = elongation_N2[:, :1], elongation_N2[:, 1:]
    return xx_NK + across_N1**2, xy_NK + across_N1 * down_N1, yy_NK + down_N1**2


def points(stars: tuple[Star, ...], flux_N: NDArray | None, taken: Exposures) -> Points:
    """Place the stars, and after them the varying source if it has a flux.

    Parameters
    ----------
    flux_N
        Of the varying source, nJy; None for an image without it.
    """
    flux = [np.asarray(star.flux_B, np.float64)[taken.band_N] for star in stars]
    dx, dy = [star.x_arcsec for star in stars], [star.y_arcsec for star in stars]
    if flux_N is not None:
        flux, dx, dy = [*flux, np.asarray(flux_N, np.float64)], [*dx, 0.0], [*dy, 0.0]
    flux_NS = np.stack(flux, axis=1) if flux else np.zeros((len(taken.band_N), 0))
    x_NS = np.asarray(taken.x_N)[:, None] + np.array(dx) / taken.arcsec_per_px
    y_NS = np.asarray(taken.y_N)[:, None] + np.array(dy) / taken.arcsec_per_px
    variance_NP = taken.psf_variances_NP
    if (elongation_N2 := taken.elongation_N2) is not None:  # a point becomes two narrower ones, d to either side
        across_N1, down_N1 = elongation_N2[:, :1], elongation_N2[:, 1:]
        flux_NS = np.concatenate([flux_NS / 2, flux_NS / 2], axis=1)
        x_NS = np.concatenate([x_NS - across_N1, x_NS + across_N1], axis=1)
        y_NS = np.concatenate([y_NS - down_N1, y_NS + down_N1], axis=1)
        variance_NP = variance_NP - (across_N1**2 + down_N1**2) / 2
    return Points(
        flux_NS.astype(np.float32),
        x_NS.astype(np.float32),
        y_NS.astype(np.float32),
        np.sqrt(variance_NP).astype(np.float32),
        np.array(taken.shape.weights, np.float32),
    )


def of_scene(scene: Scene, flux_N: NDArray | None, taken: Exposures) -> tuple[Gaussians, Points]:
    """Galaxies and points of one scene under many conditions."""
    return galaxies(scene.galaxies, taken), points(scene.stars, flux_N, taken)
