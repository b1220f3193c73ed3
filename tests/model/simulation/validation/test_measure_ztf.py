"""What is measured on alerts is what was put into them."""

import numpy as np
import pytest

from model.simulation.survey import psf
from model.simulation.validation import measure_ztf
from model.simulation.validation.stamps import blank_sky, isolated_stars

PROFILE = psf.PsfShape(2.25, 0.1)


def noise(seed=0):
    return np.random.default_rng(seed).standard_normal((63, 63)).astype(np.float32)


def test_two_filters_are_found_again():
    """A difference made of shifted science and blurred template pixels is explained by filters that say so."""
    science, template = noise(0), noise(1)
    difference = np.roll(science, 1, 1) - 0.25 * (template + np.roll(template, 1, 0))
    measured = blank_sky.filters(np.stack([science, template, difference]))
    assert measured is not None
    assert measured.explained > 0.99
    reach = blank_sky.REACH
    assert np.unravel_index(measured.science_KK.argmax(), measured.science_KK.shape) == (reach, reach + 1)
    assert measured.template_KK[reach, reach] == pytest.approx(measured.template_KK[reach + 1, reach], abs=0.02)
    shift = np.angle(blank_sky.transfer(measured.science_KK, np.array([0.1]), 1)) / (2 * np.pi * 0.1)
    assert shift[0] == pytest.approx(-1, abs=0.05)


def test_a_pattern_is_measured_and_white_noise_has_none():
    """The variance of what repeats every three columns, and of nothing."""
    white = noise(2).astype(np.float64)
    striped = white + 0.4 * np.cos(2 * np.pi * np.arange(63) / 3)
    assert blank_sky.pattern_variance(white, 1, 3) == pytest.approx(0, abs=0.005)
    assert blank_sky.pattern_variance(striped, 1, 3) == pytest.approx(0.12, abs=0.03)


def test_stars_have_the_size_shape_and_place_given():
    """Fits find the FWHM within a tenth, the shift within 0.05 pixels, and a round star round."""
    images = psf.images(
        np.array([2.0, 2.5]), np.array([-15.0, -14.8]), np.full(2, 12.0), (63, 63), psf.PsfShape(2.25, 0.1)
    )
    triplet = np.stack([3e4 * images[0], 3e4 * images[1], 0 * images[0]]) + 3 * np.stack([noise(3), noise(4), noise(5)])
    (star,) = isolated_stars.pairs(triplet.astype(np.float32))
    np.testing.assert_allclose(star.fwhm_px_2, [2.0, 2.5], rtol=0.15)
    np.testing.assert_allclose(star.shift_px_2, [0.2, 0], atol=0.05)
    assert star.ellipticity_2.max() < 0.05


def test_real_alerts_say_what_the_camera_holds(shared_data):
    """Quantiles of 40 real alerts: their differences are filtered images of what their packets hold."""
    stamps = measure_ztf.real_ztf.read(shared_data / "alerts" / "ztf" / "20180819")
    rows = dict(measure_ztf.stamps_only(stamps.pixels_NCHW[:40]))
    explained = next(values for name, values in rows.items() if "two filters" in name)
    assert np.median(explained) > 0.98


def test_what_is_left_of_a_star_is_what_was_put_there():
    """A difference with 1 % of a star's light says so; the star of the alert itself is none."""
    star, alert = psf.images(np.full(2, 2.0), np.array([-15.0, 0.0]), np.array([12.0, 0.0]), (63, 63), PROFILE)
    template = 3e4 * (star + alert)
    (measured,) = isolated_stars.remnants(np.stack([template + noise(6), template + noise(7), 300 * star]))
    np.testing.assert_allclose(measured, 0.01, rtol=0.01)


def test_concentration_falls_with_seeing():
    """Of an isolated star's light within 3 pixels, the share within 1.5 is that of its profile, whatever its place."""
    stars = psf.images(
        np.array([1.6, 2.6]), np.array([10.3, 10.3]), np.full(2, -8.4), (63, 63), psf.PsfShape(2.25, 0.1)
    )
    images = 3e4 * np.stack([*stars, np.zeros((63, 63), np.float32)]) + np.stack([noise(c) for c in range(3)])
    (measured,) = isolated_stars.concentrations(images.astype(np.float32))
    np.testing.assert_allclose(measured, [0.75, 0.57], atol=0.05)
