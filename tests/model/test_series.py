"""The compact form of frames and the fit to a size: what was seen comes back, and what was not stays NaN."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.series import LARGEST_FLOAT16, Series, compact, fit_to_size


def test_compact_keeps_pixels_to_float16():
    """Pixels times scale are the pixels to float16's three digits, at any brightness."""
    rng = np.random.default_rng(1)
    pixels = rng.normal(0, 30, (3, 63, 63)).astype(np.float32)
    pixels[0] += 1e6
    pixels[1, 31, 31] = 1e9
    small, scale = compact(pixels)
    assert small.dtype == np.float16
    assert scale.dtype == np.float32
    assert np.allclose(small * scale[:, None, None], pixels, rtol=1e-3, atol=scale.max() * 1e-3)


def test_scale_is_the_noise():
    """The scale is the standard deviation of the noise, whatever a star adds, unless float16 would overflow."""
    rng = np.random.default_rng(2)
    pixels = rng.normal(0, 30, (1, 63, 63)).astype(np.float32)
    assert compact(pixels)[1][0] == pytest.approx(30, rel=0.05)
    pixels[0, 30:33, 30:33] = 5e4
    assert compact(pixels)[1][0] == pytest.approx(30, rel=0.05)
    pixels[0, 31, 31] = 1e9
    assert compact(pixels)[1][0] == pytest.approx(1e9 / LARGEST_FLOAT16, rel=1e-5)


def test_odd_frames_are_kept():
    """Constant, empty and half masked frames have a finite positive scale, and NaN stays NaN."""
    pixels = np.full((3, 8, 8), np.nan, np.float32)
    pixels[1] = 7.0
    pixels[2, :4] = 3.0
    small, scale = compact(pixels)
    assert np.isfinite(scale).all()
    assert (scale > 0).all()
    assert np.isnan(small[0]).all()
    assert np.allclose(small[1] * scale[1], 7.0, rtol=1e-3)
    assert np.isnan(small[2, 4:]).all()


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
def test_fit_keeps_the_centre(height, width, size):
    """The central pixel stays central, pixels keep their places about it, and what is new is NaN."""
    pixels = np.arange(height * width, dtype=np.float32).reshape(1, height, width)
    fitted = fit_to_size(pixels, size)
    assert fitted.shape == (1, size, size)
    assert fitted[0, size // 2, size // 2] == pixels[0, height // 2, width // 2]
    seen = fitted[0][np.isfinite(fitted[0])]
    assert len(set(seen.tolist())) == len(seen)
    rows = min(height - height // 2, size - size // 2) + min(height // 2, size // 2)
    columns = min(width - width // 2, size - size // 2) + min(width // 2, size // 2)
    assert len(seen) == rows * columns


def test_fit_there_and_back():
    """Padding to a larger size and cropping back gives the same frame."""
    pixels = np.random.default_rng(3).normal(size=(2, 21, 30)).astype(np.float32)
    padded = fit_to_size(pixels, 63)
    assert np.array_equal(fit_to_size(padded, 21)[:, :, :], fit_to_size(pixels, 21))


def test_series_are_cut_like_arrays():
    """A slice and an index array cut all columns alike."""
    rng = np.random.default_rng(4)
    series = Series(
        rng.normal(size=(5, 1, 2, 2)).astype(np.float16),
        np.ones((5, 1), np.float32),
        np.arange(5, dtype=np.int8),
        np.arange(5.0),
        np.arange(5, dtype=np.float32),
        np.ones(5, np.float32),
    )
    assert len(series) == 5
    assert series[1:3].time_T.tolist() == [1, 2]
    assert series[np.array([4, 0])].band_T.tolist() == [4, 0]
    assert series[2:].pixels_TCHW.shape == (3, 1, 2, 2)
    assert [group.band_T.tolist() for group in series.groups(3)] == [[0, 1, 2], [3, 4]]


def test_scale_is_that_of_numpys_medians():
    """Channels in which much, little or nothing is missing get the deviation that numpy's median gives, to the bit."""
    rng = np.random.default_rng(5)
    for number in range(60):
        pixels = (rng.normal(size=(3, 7, 1 + number % 9)) * 10 ** rng.uniform(-3, 6)).astype(np.float32)
        pixels[0][rng.random(pixels.shape[1:]) < 0.3] = np.nan
        pixels[1, 0, 0] = np.inf
        scale = compact(pixels)[1]
        for channel in range(3):
            real = pixels[channel][np.isfinite(pixels[channel])]
            if real.size == 0:
                assert scale[channel] == 1
                continue
            sigma = 1.4826 * np.median(np.abs(real - np.median(real)))
            least = np.abs(real).max() / LARGEST_FLOAT16
            assert scale[channel] == np.float32(max(sigma, least))
