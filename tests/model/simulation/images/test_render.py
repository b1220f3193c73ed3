"""Noise-free images: flux, place, turn, and that no image depends on another; GalSim judges them next door."""

import numpy as np
import pytest

from model.simulation.images import noise_free, profiles
from model.simulation.sky_records import Galaxy, Scene, Star
from model.simulation.survey.psf import PsfShape

SHAPE = PsfShape(2.25, 0.1)
FLUX_B = np.full(6, 1e4, np.float32)
SCENE = Scene(
    (Galaxy(10 * FLUX_B, 3.0, 1.0, 0.6, 0.7, 0.5, -0.8), Galaxy(FLUX_B, 1.2, 4.0, 0.8, 0.2, -7.0, 6.0)),
    (Star(FLUX_B, 3.0, -9.0),),
)


def draw(scene, flux, fwhm, x, y, size=64, pixel=0.396):
    band = np.arange(len(fwhm)) % 5
    parts = profiles.of_scene(
        scene, flux, profiles.Exposures(band, fwhm, x, y, SHAPE, pixel, (float(np.min(fwhm)), float(np.max(fwhm))))
    )
    return noise_free.render_images(*parts, size)


def conditions(count=40, seed=3):
    rng = np.random.default_rng(seed)
    fwhm = 1.4 * np.exp(0.18 * rng.standard_normal(count))
    return fwhm, rng.uniform(-0.5, 0.5, count), rng.uniform(-0.5, 0.5, count)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_point_source_keeps_its_flux(sign):
    """A source of either sign has its flux in the stamp, to 0.3 %."""
    fwhm, x, y = conditions()
    images = draw(Scene(), np.full(len(fwhm), sign * 1e3), fwhm, x, y)
    np.testing.assert_allclose(images.sum((1, 2)), sign * 1e3, rtol=3e-3)


def test_a_source_falls_where_it_is_put():
    """The centre of light is the central pixel plus the shift asked for, x along columns."""
    images = draw(Scene(), np.array([1.0]), np.array([1.4]), np.array([0.3]), np.array([-2.2]), size=65)
    axis = np.arange(65) - 32
    assert images[0].sum(0) @ axis == pytest.approx(0.3, abs=0.01)
    assert images[0].sum(1) @ axis == pytest.approx(-2.2, abs=0.01)


def test_a_quarter_turn_of_the_scene_turns_the_image():
    """Turning the scene by 90 degrees turns the image by 90 degrees."""
    galaxy = SCENE.galaxies[0]
    turned = Galaxy(galaxy.flux_B, 3.0, 1.0, 0.6, 0.7 + np.pi / 2, 0.8, 0.5)
    zero = np.zeros(1)
    first = draw(Scene((galaxy,)), None, np.array([1.4]), zero, zero, size=65)
    second = draw(Scene((turned,)), None, np.array([1.4]), zero, zero, size=65)
    np.testing.assert_allclose(np.rot90(first[0], -1), second[0], rtol=1e-3, atol=1e-3)


def test_an_image_does_not_depend_on_the_others():
    """Drawing one visit alone gives the same bytes as drawing it among many."""
    fwhm, x, y = conditions()
    band = np.arange(len(fwhm)) % 5
    seeing = float(fwhm.min()), float(fwhm.max())
    many = profiles.of_scene(SCENE, None, profiles.Exposures(band, fwhm, x, y, SHAPE, 0.396, seeing))
    pick = slice(17, 18)
    one = profiles.of_scene(
        SCENE, None, profiles.Exposures(band[pick], fwhm[pick], x[pick], y[pick], SHAPE, 0.396, seeing)
    )
    np.testing.assert_array_equal(noise_free.render_images(*many, 64)[17], noise_free.render_images(*one, 64)[0])


def test_an_empty_scene_is_black():
    """No galaxies, no stars and no source draw zeros."""
    assert not draw(Scene(), None, np.full(3, 1.4), np.zeros(3), np.zeros(3)).any()
