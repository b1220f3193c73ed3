"""Slopes, curvature, colours and limits of the last month; light curves are drawn by hand, magnitudes known."""

import numpy as np
import pytest
import torch

from model.networks.contract import LightCurve
from model.networks.layers.light_curve_shape import OF_BANDS, OF_PAIRS, SHAPE_WIDTH, light_curve_shape
from model.series import BANDS

G, R = BANDS.index("g"), BANDS.index("r")
GR = OF_BANDS * len(BANDS) + OF_PAIRS * G  # first number of the pair g, r
ALL = OF_BANDS * len(BANDS) + OF_PAIRS * (len(BANDS) - 1)
GAP, DEPTH, FOUND = ALL, ALL + 1, ALL + 2


def curve(rows, padding=0):
    """One object: rows of (day, band, magnitude or None for a limit of 20.5)."""
    rows = sorted(rows)
    flux = [0.0 if mag is None else 10 ** (0.4 * (31.4 - mag)) for _, _, mag in rows]
    error = [
        10 ** (0.4 * (31.4 - 20.5)) / 5 if mag is None else f / 50 for f, (_, _, mag) in zip(flux, rows, strict=True)
    ]
    columns = [[band for _, band, _ in rows], [day for day, _, _ in rows], flux, error, [True] * len(rows)]
    kinds = (torch.int64, torch.float32, torch.float32, torch.float32, torch.bool)
    return LightCurve(*(torch.tensor([c], dtype=k) for c, k in zip(columns, kinds, strict=True))).padded(
        len(rows) + padding
    )


def shape(rows, padding=0, end=None):
    """Numbers after the last frame, or after frame ``end``."""
    of = curve(rows, padding)
    return light_curve_shape(of, torch.tensor([[len(rows) - 1 if end is None else end]]))[0, 0].numpy()


def test_a_parabola_in_magnitude_has_its_slope_and_curvature():
    """The middle slope and half of the second derivative come back, to what the ridge takes away."""
    days = np.arange(0, 28, 2.0)
    features = shape([(d, R, 18 + 0.03 * (d - 13) + 0.004 * (d - 13) ** 2) for d in days])
    of_r = features[OF_BANDS * R : OF_BANDS * (R + 1)]
    assert np.sinh(of_r[1]) / 10 == pytest.approx(0.03, rel=0.02)
    assert np.sinh(of_r[4]) / 100 == pytest.approx(0.004, rel=0.02)
    assert np.all(features[: OF_BANDS * R] == 0)


def test_what_is_older_than_a_month_is_not_fitted():
    """A bright past two months ago changes nothing."""
    month = [(60 + d, R, 18 + 0.05 * d) for d in range(0, 20, 2)]
    np.testing.assert_allclose(shape([(0.0, R, 15.0), *month])[:GR], shape(month)[:GR], atol=1e-5)


def test_colours_are_of_pairs_within_a_night_or_two():
    """Mean g - r, and how fast it reddens; detections days apart make no pair."""
    rows = [
        (d + s, band, 18 + (0.1 + 0.02 * d if band == G else 0.0))
        for d in range(0, 20, 4)
        for band, s in ((G, 0.0), (R, 0.05))
    ]
    features = shape(rows)[GR : GR + OF_PAIRS]
    assert features[1] == pytest.approx(0.1 + 0.02 * 8, abs=1e-3)
    assert np.sinh(features[2]) / 10 == pytest.approx(0.02, rel=0.05)
    assert features[4] == 1
    assert features[3] == pytest.approx(0.1 + 0.02 * 16, abs=1e-3)
    assert np.all(shape([(0.0, G, 18.0), (3.0, R, 18.0)])[GR : GR + OF_PAIRS] == 0)


def test_the_last_limit_before_the_rise_is_told():
    """Its age and by how much the first detection outshines it."""
    features = shape([(0.0, R, None), (2.0, R, 19.5), (4.0, R, 19.0)])
    assert features[FOUND] == 1
    assert np.expm1(2 * features[GAP]) == pytest.approx(2.0, abs=1e-3)
    assert features[DEPTH] == pytest.approx(1.0, abs=1e-2)
    assert shape([(2.0, R, 19.5), (4.0, R, 19.0)])[FOUND] == 0


def test_nothing_later_and_no_padding_is_read():
    """The numbers after a frame are those of the light curve cut there, whatever follows."""
    rows = [(0.0, R, None), (2.0, G, 19.5), (2.1, R, 19.4), (5.0, R, 19.0), (8.0, G, 18.5)]
    np.testing.assert_allclose(shape(rows, end=2), shape(rows[:3]), atol=1e-6)
    np.testing.assert_allclose(shape(rows, padding=4), shape(rows), atol=1e-6)
    assert shape(rows).shape == (SHAPE_WIDTH,)
    assert np.isfinite(shape([(0.0, R, None)])).all()
