"""What a survey notices."""

from dataclasses import replace

import numpy as np
import pytest

from model.simulation.sky.population import draw_object, draw_sample
from model.simulation.sky_records import Sampling, SkySettings
from model.simulation.survey import selection
from model.simulation.surveys import LSST, SDSS, ZTF, ab_mag, flux_njy, survey_named


def dark(obj):
    """The same visits with nothing in them."""
    return replace(obj, flux_T=np.zeros_like(obj.flux_T), reference_flux_B=np.zeros_like(obj.reference_flux_B))


def test_measured_fluxes_scatter_about_the_truth_by_their_errors():
    """Pulls of many visits have mean 0 and standard deviation 1, and asking again gives the same numbers."""
    pulls = []
    for obj in draw_sample(SkySettings(survey=LSST, seed=4), {"SNIa": 15}):
        flux_T, error_T = selection.measured_flux(obj)
        np.testing.assert_array_equal(flux_T, selection.measured_flux(obj)[0])
        pulls.append((flux_T - obj.difference_flux_T) / error_T)
    pull = np.concatenate(pulls)
    assert pull.mean() == pytest.approx(0, abs=0.08)
    assert pull.std() == pytest.approx(1, abs=0.06)


def test_the_depth_is_the_flux_at_five_sigma():
    """Of faint sources the error is a fifth of the flux at the limit, but for the template's share."""
    obj = dark(draw_object(SkySettings(survey=SDSS, seed=4), "SNIa", 1))
    _, error_T = selection.measured_flux(obj)
    np.testing.assert_allclose(5 * error_T, selection.TEMPLATE_NOISE * flux_njy(obj.schedule.depth_T), rtol=1e-5)


def test_nothing_is_not_detected_and_triggers_nothing():
    """Empty visits give no detection at 5 sigma."""
    empty = dark(draw_object(SkySettings(survey=ZTF, seed=4), "SNIa", 2))
    assert selection.detections(empty).sum() <= 1
    assert not selection.triggered(empty)


@pytest.mark.parametrize("label", ["AGN", "SNIa", "Variable", "SNOther"])
def test_what_is_drawn_has_triggered(label):
    """Selected objects are detected on two nights, or twice half an hour apart, the first where the truth says."""
    for survey in ("sdss", "ztf", "lsst"):
        obj = draw_object(SkySettings(survey=survey_named(survey), seed=4), label, 8)
        detected_T = selection.detections(obj)
        if survey == "sdss":
            assert len(np.unique(obj.schedule.night_T[detected_T])) >= 2
        assert np.ptp(obj.schedule.time_T[detected_T]) >= 0.02
        assert np.flatnonzero(detected_T)[0] == obj.truth["first_detection"] == selection.first_detection(obj)


def test_detections_may_be_negative():
    """A nucleus below its template alerts, too."""
    faded = 0
    for obj in draw_sample(SkySettings(survey=LSST, seed=4), {"AGN": 15}):
        flux_T, _ = selection.measured_flux(obj)
        faded += (flux_T[selection.detections(obj)] < 0).sum()
    assert faded > 0


def test_an_artefact_is_detected_without_light():
    """Bogus detections exist at the visits that the artefact spoils, though no source is there."""
    for obj in draw_sample(SkySettings(survey=ZTF, seed=4), {"Bogus": 8}):
        assert not obj.flux_T.any()
        spoiled_T, detected_T = selection.artefact_visits(obj), selection.detections(obj)
        assert spoiled_T.any()
        assert (spoiled_T & detected_T).any()
    assert not selection.artefact_visits(draw_object(SkySettings(survey=ZTF, seed=4), "SNIa", 1)).any()


def test_spectra_are_taken_of_bright_supernovae():
    """The spectroscopic samples of SDSS and ZTF peak brighter than the photometric ones."""
    for survey in (SDSS, ZTF):
        sky, brightest = SkySettings(survey=survey, seed=6, level=3), {}
        for sample in ("spec", "photo"):
            drawn = draw_sample(sky, {"SNIa": 40}, sampling=Sampling(sample))
            brightest[sample] = np.median([obj.truth["largest_change_mag"] for obj in drawn])
        assert brightest["spec"] < brightest["photo"] - 0.3


def test_spectra_are_as_complete_as_those_of_the_bright_transient_survey():
    """Of ZTF supernovae brighter than 18.5 nearly all have a spectrum, to 19 most, fainter than 19.5 few."""
    typed = {name: [] for name in ("bright", "middle", "faint")}
    for obj in draw_sample(SkySettings(survey=ZTF, seed=8, level=3), {"SNIa": 250}, sampling=Sampling("photo")):
        flux_T, error_T = selection.measured_flux(obj)
        best = ab_mag(flux_T[np.isin(obj.schedule.band_T, (1, 2)) & (flux_T > 5 * error_T)].max(initial=1.0))
        name = "bright" if best < 18.5 else "middle" if best < 19 else "faint" if best > 19.5 else None
        if name is not None:
            typed[name].append(selection.followed_up(obj))
    assert np.mean(typed["bright"]) > 0.85
    assert 0.45 < np.mean(typed["middle"]) < 0.95
    assert np.mean(typed["faint"]) < 0.2


def test_alerts_are_of_stars_that_alert_often():
    """Variable stars of ZTF are met by their alerts: frequent ones nearly always, rare ones seldom, flares always."""
    rare, frequent = [], []
    for number in range(300):
        obj = draw_object(SkySettings(survey=ZTF, seed=9), "Variable", number, sampling=Sampling(attempt=0))
        count = int(selection.detections(obj).sum())
        if obj.truth["subtype"] == "Flare":
            assert selection.met(obj)
        elif count >= 60 or 0 < count <= 5:
            (frequent if count >= 60 else rare).append(selection.met(obj))
    assert np.mean(frequent) > 0.7
    assert np.mean(rare) < 0.3
    assert all(selection.met(obj) for obj in draw_sample(SkySettings(survey=ZTF, seed=9), {"AGN": 5, "SNIa": 5}))
