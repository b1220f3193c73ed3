"""Flaws come at the rates that were measured, in the pixels they should."""

from dataclasses import replace

import numpy as np
import pytest

from model.simulation.images import artefacts

TRIPLET = ("science", "template", "difference")
NOTHING = artefacts.Flaws(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (0, 0, 0), (0, 0), True)


def flawed(flaws, seed=0, signal=None, saturation=1e9, channels=TRIPLET):
    pixels = np.zeros((len(channels), 63, 63), np.float32)
    signal = np.zeros((63, 63), np.float32) if signal is None else signal
    rng = np.random.default_rng(seed)
    window = artefacts.add(pixels, channels, signal, 1.0, saturation, 2.3, flaws, rng)
    return pixels, window


def test_no_flaws_change_nothing():
    """A detector without flaws leaves the stamp as it is."""
    pixels, window = flawed(NOTHING)
    assert not pixels.any()
    assert window == (0, 63, 0, 63)


def test_ztf_masks_and_cuts_as_real_alerts_have():
    """About 16 % of whole ZTF stamps have masked pixels, about 3 % of all are cut short."""
    drawn = [flawed(artefacts.FLAWS["ztf"], seed) for seed in range(3000)]
    masked = np.mean([np.isnan(pixels).any() for pixels, window in drawn if window == (0, 63, 0, 63)])
    cut = np.mean([window != (0, 63, 0, 63) for _, window in drawn])
    assert masked == pytest.approx(0.16, abs=0.025)
    assert cut == pytest.approx(0.03, abs=0.012)


def test_the_central_pixel_is_always_measured():
    """No mask covers the pixel where the survey found its source."""
    for seed in range(500):
        pixels, _ = flawed(replace(NOTHING, bad_column=1, edge_mask=1, block_mask=1, cut_short=1), seed)
        assert np.isfinite(pixels[:, 31, 31]).all()


def test_outside_the_window_nothing_is_measured():
    """A stamp cut short has no pixel outside the window, and loses one side only."""
    for seed in range(40):
        pixels, (top, bottom, left, right) = flawed(replace(NOTHING, cut_short=1), seed)
        assert np.isfinite(pixels[:, top:bottom, left:right]).all()
        assert np.isfinite(pixels[0]).sum() == (bottom - top) * (right - left) < 63 * 63


def test_a_template_has_no_flaws_of_the_visit():
    """Cosmic rays and trails are in science and difference alike, never in the template."""
    pixels, _ = flawed(replace(NOTHING, cosmic_ray=5, trail=1, gradient=0.1))
    assert pixels[0].any()
    np.testing.assert_array_equal(pixels[0], pixels[2])
    assert not pixels[1].any()


def test_saturated_cores_are_masked_or_clipped():
    """ZTF masks what saturates; SDSS clips it and lets charge bleed along the column."""
    signal = np.zeros((63, 63), np.float32)
    signal[10, 20] = 5e4
    masked, _ = flawed(NOTHING, signal=signal, saturation=1e4)
    assert np.isnan(masked[:, 8:13, 18:23]).all()
    clipped, _ = flawed(replace(NOTHING, masks_saturation=False), signal=signal, saturation=1e4, channels=("science",))
    assert (clipped[0, 5:16, 20] == 1e4).all()


def test_correlated_noise_keeps_its_variance():
    """Correlating noise along rows changes its lag-1 correlation, not its variance."""
    white = np.random.default_rng(0).standard_normal((400, 400), np.float32)
    flaws = replace(NOTHING, correlation=(-0.05, 0))
    noise = artefacts.read_out(white, flaws, np.random.default_rng(0))
    assert noise.var() == pytest.approx(white.var(), rel=0.01)
    assert (noise[:, 1:] * noise[:, :-1]).mean() == pytest.approx(-0.05, abs=0.01)


def test_a_readout_pattern_repeats_every_three_columns():
    """The pattern has the variance asked for, at period 3 along rows and 2 along columns."""
    flaws = replace(NOTHING, correlation=(1e-9, 0), pattern=(0.04, 0, 1))
    noise = artefacts.read_out(np.zeros((60, 60), np.float32), flaws, np.random.default_rng(0))
    np.testing.assert_allclose(noise[:, 3:], noise[:, :-3], atol=1e-6)
    np.testing.assert_allclose(noise[2:], noise[:-2], atol=1e-6)
    assert noise.mean(0).var() == pytest.approx(0.04, rel=0.01)


def test_an_unknown_artefact_is_refused():
    """A kind of artefact that nobody draws is an error."""
    with pytest.raises(ValueError, match="gremlin"):
        artefacts.bogus("gremlin", 31, 0, 0, 2.3, np.random.default_rng(0))


def test_rows_beside_an_edge_lose_light_in_direct_images_alone():
    """Up to four rows beside a missing strip are dark in science image and template, not in the difference."""
    flaws = replace(NOTHING, edge_mask=1.0, dark_edge=1.0)
    pixels = np.ones((3, 63, 63), np.float32)
    artefacts.add(pixels, TRIPLET, np.zeros((63, 63), np.float32), 0.0, 1e9, 2.3, flaws, np.random.default_rng(3))
    dark = pixels < 1
    assert not dark[2].any()
    assert (dark[0] == dark[1]).all()
    assert dark[0].sum() in (63, 126, 189, 252)


def test_a_template_loses_one_pixel_beside_a_bright_core():
    """Two rows from the brightest pixel the star's light is gone; a faint star keeps all of it."""
    flaws = replace(NOTHING, dark_core=(1.0, 100.0))
    light = np.full((63, 63), 5.0, np.float32)
    light[30, 40] = 1000.0
    template = light + 2
    artefacts.lose_core_pixel(template, light, flaws, np.random.default_rng(0))
    assert template[28, 40] == 2
    assert (template != light + 2).sum() == 1
    faint = light / 20
    artefacts.lose_core_pixel(faint, light / 20, flaws, np.random.default_rng(0))
    assert (faint == light / 20).all()
