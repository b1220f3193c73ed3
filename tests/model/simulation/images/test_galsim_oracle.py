"""GalSim, an independent renderer, says what the images should be."""

import numpy as np
import pytest

from model.simulation.images import noise_free, profiles
from model.simulation.sky_records import Galaxy, Scene
from model.simulation.survey import psf

galsim = pytest.importorskip("galsim")

SHAPE = psf.PsfShape(2.25, 0.1)
SIZE = 65
FLUX = 1e4


def galsim_psf(fwhm_px):
    core, wing = np.sqrt(psf.variances(np.array(fwhm_px), SHAPE))
    weights = SHAPE.weights
    return weights[0] * galsim.Gaussian(sigma=core) + weights[1] * galsim.Gaussian(sigma=wing)


def by_galsim(profile, x, y):
    return profile.shift(x, y).drawImage(nx=SIZE, ny=SIZE, scale=1.0, dtype=np.float64).array


def ours(scene, flux, fwhm_px, x, y):
    parts = profiles.of_scene(
        scene,
        flux,
        profiles.Exposures(
            np.array([2]), np.array([fwhm_px]), np.array([x]), np.array([y]), SHAPE, 1.0, (fwhm_px, fwhm_px)
        ),
    )
    return noise_free.render_images(*parts, SIZE)[0]


def moments(image):
    axis = np.arange(SIZE) - SIZE // 2
    total = image.sum()
    x, y = (image.sum(0) * axis).sum() / total, (image.sum(1) * axis).sum() / total
    return (
        (image.sum(0) * (axis - x) ** 2).sum() / total,
        (image.sum(1) * (axis - y) ** 2).sum() / total,
        (image * np.outer(axis - y, axis - x)).sum() / total,
    )


@pytest.mark.parametrize("fwhm_px", [2.0, 3.5])
@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (0.4, -0.3)])
def test_point_sources_are_those_of_galsim(fwhm_px, x, y):
    """A point source equals GalSim's pixel by pixel, within 1e-3 of its peak, its flux within 0.3 %."""
    expected = by_galsim(galsim_psf(fwhm_px) * FLUX, x, y)
    image = ours(Scene(), np.array([FLUX]), fwhm_px, x, y)
    assert np.abs(image - expected).max() < 1e-3 * expected.max()
    assert image.sum() == pytest.approx(FLUX, rel=3e-3)
    np.testing.assert_allclose(moments(image), moments(expected), atol=0.02)


@pytest.mark.parametrize("fwhm_px", [2.0, 3.5])
@pytest.mark.parametrize(("index", "peak_error", "growth_error"), [(1.0, 0.02, 0.005), (4.0, 0.06, 0.03)])
def test_galaxies_grow_like_those_of_galsim(fwhm_px, index, peak_error, growth_error):
    """A rotated elliptical galaxy has GalSim's curve of growth and second moments, and keeps its flux."""
    radius, ratio, angle = 3.0, 0.6, 0.5
    galaxy = Galaxy(np.full(6, FLUX, np.float32), radius, index, ratio, angle, 0.0, 0.0)
    # GalSim's half-light radius is circularised: that of the geometric mean of the axes. Ours is the major axis.
    profile = galsim.Sersic(index, half_light_radius=radius * np.sqrt(ratio), flux=FLUX)
    profile = galsim.Convolve(profile.shear(q=ratio, beta=angle * galsim.radians), galsim_psf(fwhm_px))
    expected = by_galsim(profile, 0.3, -0.2)
    axis = np.arange(SIZE) - SIZE // 2
    distance = np.hypot(axis - 0.3, (axis + 0.2)[:, None])
    image = ours(Scene((galaxy,)), None, fwhm_px, 0.3, -0.2)
    assert np.abs(image - expected).max() < peak_error * expected.max()
    for limit in (2, 4, 8, 16):
        grown = [part[distance < limit].sum() / FLUX for part in (image, expected)]
        assert grown[0] == pytest.approx(grown[1], abs=growth_error)
    if index == 1.0:  # the outskirts of steep profiles, which the stamp cuts, rule their moments
        np.testing.assert_allclose(moments(image), moments(expected), rtol=0.03, atol=0.03)
        assert image.sum() == pytest.approx(FLUX, rel=3e-3)
