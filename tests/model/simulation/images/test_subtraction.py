"""Proper subtraction: white differences, light that keeps its scale, PSFs that are not round."""

from dataclasses import replace

import numpy as np
import pytest

from model.simulation.images import noise_free, profiles, subtraction
from model.simulation.sky_records import Galaxy, Scene, Star
from model.simulation.survey.cameras import CAMERAS

ZTF = CAMERAS["ztf"]
DARK = np.zeros((63, 63), np.float32)
ROUND = (2.0, None)


def white(seed, sigma=1.0):
    return np.random.default_rng(seed).standard_normal((63, 63), np.float32) * np.float32(sigma)


@pytest.mark.parametrize("template_fwhm_px", [1.6, 2.0, 2.6])
def test_a_difference_of_white_images_is_white(template_fwhm_px):
    """Whichever image is sharper, the noise of both together stays white, at their summed variance."""
    camera = replace(ZTF, resampling=None)
    psfs = (ROUND, (template_fwhm_px, None))
    images = [
        subtraction.subtract(white(2 * i), white(2 * i + 1, 0.5), DARK, 0.5, psfs, camera, None) for i in range(40)
    ]
    noise_NHW = np.array(images)
    assert noise_NHW.var() == pytest.approx(1.25, rel=0.02)
    for lag in (noise_NHW[:, :, 1:] * noise_NHW[:, :, :-1], noise_NHW[:, 1:] * noise_NHW[:, :-1]):
        assert lag.mean() / noise_NHW.var() == pytest.approx(0, abs=0.01)


def test_light_keeps_its_scale_and_place():
    """What a subtraction should show passes it unchanged, but for the shift of a skewed PSF's finest detail."""
    light = drawn(Scene(), np.array([1000.0]))[0]
    plain = subtraction.subtract(DARK, DARK, light, 0.3, (ROUND, ROUND), ZTF, None)
    np.testing.assert_allclose(plain, light, atol=1e-3)
    skewed = subtraction.subtract(DARK, DARK, light, 0.3, (ROUND, ROUND), ZTF, np.random.default_rng(0))
    assert skewed.sum() == pytest.approx(light.sum(), rel=1e-4)
    assert 0.001 < np.abs(skewed - light).max() / light.max() < 0.1


def test_crowding_counts_as_noise():
    """Where half of the pixels hold stars, science and template look equally noisy."""
    crowded = np.random.default_rng(0).exponential(1e4, (63, 63)).astype(np.float32)
    assert subtraction.noise_ratio(DARK, 1.0, 0.25) == pytest.approx(0.25)
    assert subtraction.noise_ratio(crowded, 1.0, 0.25) == pytest.approx(1, rel=1e-3)


def drawn(scene, flux_N, elongation_N2=None):
    one = np.ones(1)
    band = np.array([2])
    light, points = profiles.of_scene(
        scene, flux_N, profiles.Exposures(band, 2 * one, 0 * one, 0 * one, ZTF.psf, 1.0, (2.0, 2.0), elongation_N2)
    )
    return noise_free.render_images(light, points, 63)


def moments(image_HW):
    axis = np.arange(63) - 31
    weight = image_HW / image_HW.sum()
    return [
        float((weight * term).sum())
        for term in (axis**2 + 0 * axis[:, None], axis[:, None] ** 2 + 0 * axis, axis * axis[:, None])
    ]


@pytest.mark.parametrize("what", ["star", "galaxy"])
def test_an_elongated_psf_keeps_flux_and_size(what):
    """Stars and galaxies gain ``d d^T`` in their moments and lose its half in all directions."""
    flux_B = np.full(6, 1000.0, np.float32)
    scenes = {"star": Scene((), (Star(flux_B, 0.0, 0.0),)), "galaxy": Scene((Galaxy(flux_B, 1.0, 1.0, 1.0, 0, 0, 0),))}
    vector = np.array([[0.5, 0.3]])
    flat, long = (drawn(scenes[what], None, d)[0] for d in (None, vector))
    assert long.sum() == pytest.approx(flat.sum(), rel=1e-4)
    changed = np.subtract(moments(long), moments(flat))
    half = (vector**2).sum() / 2
    np.testing.assert_allclose(changed, [0.25 - half, 0.09 - half, 0.15], atol=2e-3)
