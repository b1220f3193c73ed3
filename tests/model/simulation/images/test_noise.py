"""The noise of a template keeps its size and its correlations wherever it is moved."""

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from model.simulation.images.noise import CoaddNoise, robust_sigma


def lag(noise_HW):
    return float((noise_HW[:, 1:] * noise_HW[:, :-1]).mean() / noise_HW.var())


@pytest.mark.parametrize("frames", [None, 6])
def test_a_template_keeps_its_variance(frames):
    """Resampling takes nothing from the noise and adds nothing."""
    noise = CoaddNoise(np.random.default_rng(0), 200, 3.0, frames)
    assert noise.resampled(0.4, 0.7).std() == pytest.approx(3, rel=0.03)


def test_an_average_of_frames_correlates_alike_at_every_shift():
    """One resampled frame is the smoother the farther its grid is from the pixels; an average is not."""
    one, many = (CoaddNoise(np.random.default_rng(0), 200, 1.0, frames) for frames in (None, 16))
    assert lag(one.resampled(0.5, 0)) - lag(one.resampled(0, 0)) > 0.1
    assert lag(many.resampled(0.5, 0)) == pytest.approx(lag(many.resampled(0, 0)), abs=0.01)


def test_a_template_moved_by_a_pixel_is_the_same_noise():
    """The same sky lies one pixel further."""
    noise = CoaddNoise(np.random.default_rng(0), 50, 1.0, 6)
    np.testing.assert_allclose(noise.resampled(1.0, 0)[:, :-1], noise.resampled(0, 0)[:, 1:], atol=1e-5)


@pytest.mark.parametrize("side", [1, 23, 24])
def test_the_robust_sigma_is_that_of_the_median_absolute_deviation(side):
    """The spread of an image is scipy's scaled median absolute deviation, of odd and even numbers of pixels alike."""
    image_HW = np.random.default_rng(side).normal(40, 3, (side, side)).astype(np.float32)
    assert robust_sigma(image_HW) == pytest.approx(median_abs_deviation(image_HW, None, scale="normal"), rel=1e-5)
