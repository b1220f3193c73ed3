"""Stamps hold the flux, the noise and the depth that the object and its schedule state."""

import numpy as np
import pytest
from drawn import an_object

from model.simulation.images import photometry
from model.simulation.images import render as products
from model.simulation.sky_records import Scene, Star
from model.simulation.survey.cameras import CAMERAS
from model.simulation.surveys import ZTF, flux_njy, survey_named

TRIPLET = ("science", "template", "difference")
CHANNELS = {"sdss": ("science",), "ztf": TRIPLET, "lsst": TRIPLET}
SIZE = {"sdss": 32, "ztf": 31, "lsst": 31}


def measured(survey, flux, reference=0.0, visits=3000, channel="science", level=2):
    obj = an_object(survey, visits, flux, reference, Scene())
    frames = products.render_frames(obj, SIZE[survey], (channel,), np.arange(visits), level, np.random.default_rng(3))
    return obj, *photometry.forced(
        frames.pixels_NCHW[:, 0],
        frames.fwhm_NC[:, 0] / survey_named(survey).pixel_arcsec,
        frames.sigma_NC[:, 0],
        frames.x_N,
        frames.y_N,
        CAMERAS[survey].psf,
        frames.electrons_per_njy_N,
    )


@pytest.mark.parametrize("survey", ["sdss", "ztf", "lsst"])
def test_photometry_of_a_constant_star_pulls_as_its_errors_say(survey):
    """Forced photometry recovers a constant flux: pulls have mean 0 and standard deviation 1."""
    flux = 10 * float(flux_njy(an_object(survey).schedule.depth_T.mean())) / 5
    _, measured_N, error_N = measured(survey, flux)
    pull_N = (measured_N - flux) / error_N
    assert pull_N.mean() == pytest.approx(0, abs=0.06)  # three standard errors
    assert pull_N.std() == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("survey", ["sdss", "ztf", "lsst"])
def test_the_empirical_depth_is_the_one_of_the_schedule(survey):
    """The scatter of fluxes on empty sky is the 5-sigma limit that was asked for, within 0.05 mag."""
    obj, flux_N, _ = measured(survey, 0.0)
    limit_T = flux_njy(obj.schedule.depth_T + CAMERAS[survey].limit_margin_mag(obj.schedule.fwhm_T)) / 5
    assert 2.5 * np.log10(np.std(flux_N / limit_T)) == pytest.approx(0, abs=0.05)


def test_a_difference_holds_the_change_since_the_template():
    """A source that faded below its template is negative in the difference."""
    _, flux_N, _ = measured("ztf", 2e5, reference=5e5, channel="difference")
    assert np.median(flux_N) == pytest.approx(-3e5, rel=0.02)


def test_photometry_takes_the_difference_where_there_is_one():
    """The photometry of a triplet is the change, its background and its host left out."""
    obj = an_object("ztf", 200, 3e5, 1e5, sky=5e3)
    frames = products.render_frames(obj, 31, TRIPLET, np.arange(200), 2, np.random.default_rng(0))
    flux_N, error_N = photometry.of_frames(frames, TRIPLET, ZTF)
    assert np.median(flux_N) == pytest.approx(2e5, rel=0.03)
    assert (error_N > 0).all()


@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize("survey", ["sdss", "ztf", "lsst"])
def test_every_level_draws_every_survey(survey, level):
    """Each realism level of each survey gives float32 stamps with a measured centre."""
    obj = an_object(survey, 12, 1e4)
    pixels = products.render(obj, SIZE[survey], CHANNELS[survey], np.arange(12), level, np.random.default_rng(0))
    assert pixels.shape == (12, len(CHANNELS[survey]), SIZE[survey], SIZE[survey])
    assert pixels.dtype == np.float32
    assert np.isfinite(pixels[:, :, SIZE[survey] // 2, SIZE[survey] // 2]).all()


@pytest.mark.parametrize("survey", ["sdss", "ztf", "lsst"])
def test_a_visit_is_the_same_whichever_others_are_drawn(survey):
    """Drawing two visits and one channel gives the bytes that drawing everything gives."""
    obj = an_object(survey, 20, 1e4, 3e3)
    channels = CHANNELS[survey]
    every = products.render(obj, 31, channels, np.arange(20), 4, np.random.default_rng(7))
    mask = np.zeros(20, bool)
    mask[[3, 11]] = True
    some = products.render(obj, 31, channels[-1:], mask, 4, np.random.default_rng(7))
    np.testing.assert_array_equal(some[:, 0], every[[3, 11], len(channels) - 1])


def test_other_random_numbers_draw_other_pixels():
    """The generator's state decides the noise."""
    obj = an_object()
    first, second = (
        products.render(obj, 31, ("science",), np.arange(3), 2, np.random.default_rng(seed)) for seed in (0, 1)
    )
    assert (first != second).any()


def test_no_visits_draw_no_stamps():
    """An empty selection gives an empty array of the right shape."""
    pixels = products.render(an_object(), 31, ("science",), np.array([], int), 2, np.random.default_rng(0))
    assert pixels.shape == (0, 1, 31, 31)


def test_a_template_is_resampled_and_a_difference_is_white():
    """The template's noise is correlated between neighbouring pixels, the science and difference noise is not."""
    obj = an_object("ztf", 60, scene=Scene())
    pixels = products.render(obj, 63, TRIPLET, np.arange(60), 2, np.random.default_rng(0))
    lag_C = (pixels[..., 1:] * pixels[..., :-1]).mean((0, 2, 3)) / pixels.var((0, 2, 3))
    assert 0.1 < lag_C[1] < 0.4
    np.testing.assert_allclose(lag_C[[0, 2]], 0, atol=0.06)
    sigma_C = pixels.std((0, 2, 3))
    assert 0.1 < sigma_C[1] / sigma_C[0] < 0.4
    assert 0.95 < sigma_C[2] / sigma_C[0] < 1.1


@pytest.mark.parametrize("kind", ["cosmic_ray", "bad_column", "satellite", "ghost", "dipole"])
def test_an_artefact_shows_where_the_truth_says(kind):
    """A bogus detection brightens the difference at its visit and nowhere else."""
    truth = {"artefact": kind, "artefact_sigma": 30.0, "origin_mjd": 53_600.0, "artefact_day_00": 40.0}
    obj = an_object("ztf", 20, scene=Scene(), truth=truth)
    plain = products.render(
        an_object("ztf", 20, scene=Scene()), 31, TRIPLET, np.arange(20), 2, np.random.default_rng(0)
    )
    spoiled = products.render(obj, 31, TRIPLET, np.arange(20), 2, np.random.default_rng(0))
    changed_N = (plain != spoiled).any((1, 2, 3))
    assert changed_N.sum() == 1
    assert np.argmax(changed_N) == np.argmin(np.abs(obj.schedule.time_T - 53_640))
    assert (spoiled - plain)[changed_N][0, 2, 14:17, 14:17].max() > 0
    assert not (spoiled - plain)[:, 1].any()


@pytest.mark.parametrize(
    ("channel", "level", "message"), [("difference", 2, "sdss has no channel"), ("science", 7, "level 7")]
)
def test_impossible_requests_are_refused(channel, level, message):
    """An unknown channel or level is an error that says what there is."""
    with pytest.raises(ValueError, match=message):
        products.render(an_object("sdss"), 31, (channel,), np.arange(2), level, np.random.default_rng(0))


def test_stars_far_outside_a_small_stamp_are_left_out():
    """A faint star 20 pixels away changes no pixel of a small ZTF stamp; a bright one just outside does."""
    rng = np.random.default_rng

    def drawn(*stars):
        obj = an_object("ztf", 5, scene=Scene((), stars))
        return products.render(obj, 21, TRIPLET, np.arange(5), 4, rng(0))

    alone = drawn()
    np.testing.assert_array_equal(drawn(Star(np.full(6, 1e4, np.float32), 30.0, 0.0)), alone)
    assert (drawn(Star(np.full(6, 1e7, np.float32), 14.0, 0.0)) != alone).any()
