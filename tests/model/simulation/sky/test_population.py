"""Objects of the simulated sky, drawn through their one door."""

import numpy as np
import pytest

from model.simulation.sky import labels, population
from model.simulation.sky.population import draw_object, draw_sample, redraw
from model.simulation.sky.redshifts import draw_luminosity_and_redshift, draw_nearness, draw_subtype
from model.simulation.sky_records import Sampling, SkySettings
from model.simulation.survey import selection
from model.simulation.surveys import LSST, SDSS, SURVEYS, ZTF, Survey, survey_named


def sky(seed: int, survey: Survey, level: int = 4) -> SkySettings:
    """A sky without templates."""
    return SkySettings(survey=survey, seed=seed, level=level)


def same(a, b):
    np.testing.assert_array_equal(a.flux_T, b.flux_T)
    np.testing.assert_array_equal(a.schedule.time_T, b.schedule.time_T)
    assert str(a.scene) == str(b.scene)
    np.testing.assert_equal(dict(a.truth), dict(b.truth))


@pytest.mark.parametrize("survey", sorted(SURVEYS))
@pytest.mark.parametrize("mode", labels.MODES)
@pytest.mark.parametrize("label", labels.CLASSES)
def test_every_class_can_be_drawn_in_every_mode(survey, mode, label):
    """Fluxes are finite and not negative, visits and fluxes agree in number, and the label is the one asked for."""
    for object_id in range(3):
        obj = draw_object(sky(5, SURVEYS[survey]), label, object_id, mode)
        assert obj is not None
        assert obj.label == label
        assert obj.truth["mode"] == mode
        assert len(obj.flux_T) == len(obj.schedule.time_T)
        assert np.isfinite(obj.flux_T).all()
        assert (obj.flux_T >= 0).all()
        assert np.isfinite(obj.reference_flux_B).all()
        assert all(np.isfinite(g.flux_B).all() and g.half_light_arcsec > 0 for g in obj.scene.galaxies)


@pytest.mark.parametrize("label", [*labels.SUBTYPES_OF_SNOTHER, *labels.EXTENSIONS])
def test_every_extension_can_be_drawn_for_alerts(label):
    """Subtypes, rare transients, artefacts and asteroids exist for ZTF and LSST."""
    for survey in ("ztf", "lsst"):
        obj = next(
            (o for i in range(5) if (o := draw_object(sky(5, SURVEYS[survey]), label, i)) is not None),
            None,
        )
        assert obj is not None
        assert obj.label == label


def test_an_object_is_remade_alone():
    """Whatever was drawn before, the same numbers give the same object; another seed or id another one."""
    for label in labels.CLASSES:
        first = draw_object(sky(7, SDSS), label, 42, "sdss_label")
        draw_object(sky(8, ZTF), "AGN", 1)
        same(first, draw_object(sky(7, SDSS), label, 42, "sdss_label"))
        other = draw_object(sky(8, SDSS), label, 42, "sdss_label")
        assert not np.array_equal(first.flux_T, other.flux_T) or label == "Variable"


def test_the_schedule_does_not_know_the_class():
    """One object number has one schedule, whatever is drawn in it and however often."""
    drawn = [
        draw_object(sky(7, SDSS), label, 3, mode) for label in labels.CLASSES for mode in ("physical", "deconfounded")
    ]
    for obj in drawn[1:]:
        np.testing.assert_array_equal(np.diff(obj.schedule.time_T), np.diff(drawn[0].schedule.time_T))
        np.testing.assert_array_equal(obj.schedule.depth_T, drawn[0].schedule.depth_T)


@pytest.mark.parametrize("label", labels.CLASSES)
def test_the_same_physics_can_be_put_under_another_survey(label):
    """Redrawn, an object keeps its redshift, subtype and parameters; only the survey's view of it changes."""
    sdss = draw_object(sky(7, SDSS), label, 11)
    lsst = redraw(sdss, LSST)
    assert lsst.survey is LSST
    for name in ("redshift", "subtype", "x1", "c", "period_days", "peak_r_abs_mag", "tau_obs_days"):
        assert lsst.truth.get(name) == sdss.truth.get(name)
    same(redraw(lsst, SDSS), sdss)


def test_levels_add_realism_step_by_step():
    """Below level 2 the scene is empty; below level 1 seeing is constant."""
    objects = {level: draw_object(sky(7, SDSS, level), "SNIa", 5, "physical") for level in range(5)}
    assert objects[1].scene.galaxies == ()
    assert len(objects[2].scene.galaxies) >= 1
    r_band = objects[0].schedule.band_T == 2
    assert np.ptp(objects[0].schedule.fwhm_T[r_band]) == 0
    assert np.ptp(objects[1].schedule.fwhm_T[objects[1].schedule.band_T == 2]) > 0


def test_deconfounded_sources_change_by_as_much_whatever_they_are():
    """The largest change in r has the same distribution in all classes, over static light above it."""
    medians = []
    for label in labels.CLASSES:
        drawn = list(draw_sample(sky(9, SDSS), {label: 60}, mode="deconfounded"))
        peaks = [np.abs(o.difference_flux_T[o.schedule.band_T == 2]).max() for o in drawn]
        medians.append(np.median(-2.5 * np.log10(peaks)))
        assert all(o.reference_flux_B[2] > 1.2 * peak for o, peak in zip(drawn, peaks, strict=True))
    assert np.ptp(medians) < 0.7


def test_some_supernovae_are_nearby():
    """One in twenty comes from a volume that is smaller by one to seven magnitudes, so that some peak before 15 mag."""
    rng = np.random.default_rng(1)
    drawn = np.array([draw_nearness(rng) for _ in range(4000)])
    assert np.mean(drawn > 0) == pytest.approx(0.05, abs=0.01)
    assert set(drawn) == set(range(8))
    near, far = ([draw_luminosity_and_redshift(rng, "IIP", ZTF, mag)[1] for _ in range(200)] for mag in (7, 0))
    assert np.median(near) < 0.1 * np.median(far)


def test_type_iin_are_as_rare_as_in_magnitude_limited_surveys():
    """About one hydrogen-rich supernova in seven that ZTF could see is of type IIn."""
    rng = np.random.default_rng(2)
    drawn = [draw_subtype(rng, "SNOther", ZTF) for _ in range(3000)]
    assert drawn.count("IIn") / sum(drawn.count(name) for name in ("IIP", "IIL", "IIn")) == pytest.approx(
        0.14, abs=0.04
    )


def test_some_templates_hold_the_transient():
    """Of ZTF's supernovae a few have reference light, and with it detections below zero; of SDSS none have."""
    share = {
        survey: np.mean([o.reference_flux_B.any() for o in draw_sample(sky(3, SURVEYS[survey]), {"SNOther": 300})])
        for survey in ("ztf", "sdss")
    }
    assert 0 < share["ztf"] < 0.1
    assert share["sdss"] == 0


def test_a_sample_holds_the_counts_asked_for():
    """Classes come in order with the right numbers and different ids."""
    drawn = list(draw_sample(sky(3, ZTF), {"SNIa": 4, "AGN": 3}))
    assert [o.label for o in drawn] == ["SNIa"] * 4 + ["AGN"] * 3
    assert len({o.object_id for o in drawn}) == 7


def test_photometric_labels_lie_only_at_the_highest_level():
    """Of photometric SNOther at level 4 some are nuclei; at level 3 none; a named true class stays."""
    noisy = {
        draw_object(sky(2, SDSS, 4), "SNOther", i, "sdss_label", Sampling("photo")).truth["drawn_class"]
        for i in range(12)
    }
    clean = {
        draw_object(sky(2, SDSS, 3), "SNOther", i, "sdss_label", Sampling("photo")).truth["drawn_class"]
        for i in range(12)
    }
    assert "AGN" in noisy
    assert clean == {"SNOther"}
    named = draw_object(sky(2, SDSS), "AGN", 1, "sdss_label", Sampling("photo", "SNOther"))
    assert (named.label, named.truth["drawn_class"]) == ("SNOther", "AGN")


def test_a_class_that_a_survey_never_notices_is_reported(monkeypatch):
    """Asking for what cannot be had ends with an error, not with an endless loop."""
    monkeypatch.setattr(selection, "triggered", lambda obj: False)
    monkeypatch.setattr(population, "ATTEMPTS", 1)
    with pytest.raises(ValueError, match="did not notice 50 objects of AGN"):
        list(draw_sample(sky(1, ZTF), {"AGN": 1}))


def test_nonsense_is_refused():
    """Unknown surveys, classes and levels raise errors that name the choices."""
    with pytest.raises(ValueError, match="survey is 'des'"):
        survey_named("des")
    with pytest.raises(ValueError, match="class is 'Planet'"):
        draw_object(sky(1, SDSS), "Planet", 1)
    with pytest.raises(ValueError, match="level is 7"):
        draw_object(sky(1, SDSS, 7), "AGN", 1)
