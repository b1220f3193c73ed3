"""What a schedule may and may not depend on."""

import pickle

import numpy as np
import pytest

from model.series import BANDS
from model.simulation.survey.schedule import draw_schedule, noise_njy_per_pixel
from model.simulation.surveys import SURVEYS, flux_njy, survey_named


@pytest.fixture(params=sorted(SURVEYS))
def survey(request):
    return SURVEYS[request.param]


def draw(survey, seed=1, level=4):
    return draw_schedule(survey, np.random.default_rng([seed, 5]), 58_000.0, level)


def test_visits_are_in_time_order_within_the_window_and_in_the_bands_of_the_survey(survey):
    """A schedule is sorted, stays within its window and uses the survey's bands only."""
    schedule = draw(survey)
    assert (np.diff(schedule.time_T) >= 0).all()
    assert schedule.time_T[0] >= 58_000.0
    assert schedule.time_T[-1] <= 58_000.0 + survey.window_days + 2.5
    assert {BANDS[b] for b in schedule.band_T} == set(survey.bands)


def test_every_visit_has_conditions(survey):
    """Depth, seeing, zero point and sky of every visit are finite, depth and seeing plausible."""
    schedule = draw(survey)
    for values in (schedule.depth_T, schedule.fwhm_T, schedule.zero_point_T, schedule.sky_T):
        assert len(values) == len(schedule.time_T)
        assert np.isfinite(values).all()
    assert 17 < schedule.depth_T.min() < schedule.depth_T.max() < 27
    assert 0.3 < schedule.fwhm_T.min() < schedule.fwhm_T.max() < 6


def test_the_same_numbers_give_the_same_schedule(survey):
    """Equal seeds give equal schedules, other seeds others."""
    first, again, other = draw(survey), draw(survey), draw(survey, seed=2)
    np.testing.assert_array_equal(first.time_T, again.time_T)
    np.testing.assert_array_equal(first.depth_T, again.depth_T)
    assert not np.array_equal(first.time_T, other.time_T)


def test_level_zero_has_the_median_conditions(survey):
    """Without seeing and depth variation every visit of a band is alike."""
    schedule = draw(survey, level=0)
    expected_T = survey.depth_mag_B[schedule.band_T]
    np.testing.assert_allclose(schedule.depth_T, expected_T, rtol=1e-6)


def test_bands_go_missing_from_level_three_on():
    """SDSS delivers all five bands of every night below level 3, and loses some from there on."""
    sdss = survey_named("sdss")
    counts = {level: np.unique(draw(sdss, level=level).night_T, return_counts=True)[1] for level in (2, 3)}
    assert (counts[2] == 5).all()
    assert counts[3].min() < 5


def test_a_drift_scan_crosses_the_bands_in_order():
    """In one SDSS night r comes first, then i, u, z and g, each 71.6 s after the one before."""
    schedule = draw(survey_named("sdss"), level=2)
    first_night = schedule.night_T == schedule.night_T[0]
    assert "".join(BANDS[b] for b in schedule.band_T[first_night]) == "riuzg"
    np.testing.assert_allclose(np.diff(schedule.time_T[first_night]) * 86_400, 71.65, atol=0.1)


def test_noise_per_pixel_gives_back_the_depth():
    """Five times the noise over the PSF's effective area is the flux at the limit."""
    sigma = noise_njy_per_pixel(np.array(22.0), np.array(1.4), 0.396)
    assert 5 * sigma * np.sqrt(2.266 * (1.4 / 0.396) ** 2) == pytest.approx(float(flux_njy(22.0)))


def test_an_unknown_survey_is_refused():
    """The error names the surveys there are."""
    with pytest.raises(ValueError, match="sdss, ztf, lsst"):
        survey_named("des")


def test_a_survey_travels_to_another_process_as_itself(survey):
    """What comes out of a pickle is the one record that there is of the survey, not a copy."""
    assert pickle.loads(pickle.dumps(survey)) is survey
