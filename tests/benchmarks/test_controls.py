import json

import numpy as np
import pytest

from benchmarks.controls import __main__ as controls
from benchmarks.controls import inputs, objects, scores
from benchmarks.controls.cases import drawn, noticed, photographed, recorded, seen_at, settings_of_card
from model.data.dataset import Dataset
from model.past_photometry import History
from model.series import Series
from model.serving.card import load_card
from model.simulation.datasets.draw import write_dataset
from model.simulation.datasets.plan import DatasetRequest, load_recipe, parse_recipe
from model.simulation.surveys import SDSS

CLASSES = ("AGN", "SNIa", "Variable", "SNOther")


@pytest.fixture(scope="module")
def settings():
    return settings_of_card(load_card("sdss"))


@pytest.fixture(scope="module")
def cases(settings):
    return list(drawn(settings, CLASSES, "deconfounded", 1))


def a_series(frames=6, size=9):
    rng = np.random.default_rng(1)
    return Series(
        rng.normal(5, 1, (frames, 1, size, size)).astype(np.float16),
        np.ones((frames, 1), np.float32),
        np.arange(frames, dtype=np.int8) % 2,
        np.array([0.0, 1.0, 4.0, 5.0, 9.0, 10.0])[:frames],
        np.arange(frames, dtype=np.float32),
        np.ones(frames, np.float32),
    )


def test_an_object_is_made_again_from_its_truth_pixel_by_pixel(cases, settings):
    """An object that is remade from a row of truth has the pixels that the survey recorded."""
    for case in cases:
        again = photographed(case.obj, case.visits_N, settings)
        assert np.array_equal(again.pixels_TCHW, case.series.pixels_TCHW, equal_nan=True)
        series, history = noticed(case.obj, settings)
        assert np.array_equal(series.flux_T, case.series.flux_T)
        assert history is None


def test_alerts_come_where_pixels_alert_and_are_told_with_their_past():
    """An object of an alert stream is recorded again with the same alerts and the same history."""
    settings = settings_of_card(load_card("ztf"))
    case = next(iter(drawn(settings, CLASSES, "physical", 1)))
    series, history = noticed(case.obj, settings)
    assert np.array_equal(series.time_T, case.series.time_T)
    assert np.array_equal(history.time_P, case.history.time_P)
    shown, _ = seen_at(objects.source_off(case.obj), case.visits_N, settings)
    assert (
        np.abs(np.nanmedian(shown.flux_T / shown.flux_error_T)) < 2 < np.nanmedian(series.flux_T / series.flux_error_T)
    )


def test_a_data_set_is_used_only_where_the_simulator_gives_its_bytes(tmp_path):
    """Test objects of a data set are made again; another seed's data set gives none."""
    source = dict(load_recipe("smoke").source)
    source["groups"] = [
        {"split": split, "labels": "spectroscopic", "counts": dict.fromkeys(CLASSES, 1)} for split in ("train", "test")
    ]
    write_dataset(DatasetRequest(parse_recipe(source | {"folds": None}, "here"), SDSS, 3), tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    recorded_cases = recorded(dataset, 5)
    assert [case.label for case in recorded_cases] == [0, 1, 2, 3]
    dataset.manifest["seed"] = 4
    assert recorded(dataset, 5) == []


def test_changed_objects_keep_their_visits(cases):
    """Each change touches what it names and nothing else."""
    obj, visits, rng = cases[1].obj, cases[1].visits_N, np.random.default_rng(0)
    band_T = obj.schedule.band_T
    assert np.all(objects.source_off(obj).difference_flux_T == 0)
    level = objects.constant(obj, visits)
    mixed = objects.shuffled(obj, visits, rng)
    for band in np.unique(band_T):
        of_band = visits[band_T[visits] == band]
        assert np.allclose(level.flux_T[of_band], obj.flux_T[of_band].mean())
        assert np.array_equal(np.sort(mixed.flux_T[of_band]), np.sort(obj.flux_T[of_band]))
    assert not np.array_equal(mixed.flux_T, obj.flux_T)
    assert not objects.dark(obj).scene.galaxies and not objects.dark(obj).flux_T.any()
    assert objects.significance(objects.scaled(obj, 12.0)) == pytest.approx(12, rel=1e-3)
    elsewhere = objects.under_conditions_of(obj, cases[0].obj, rng)
    assert np.array_equal(elsewhere.schedule.time_T, obj.schedule.time_T)
    assert np.isin(elsewhere.schedule.fwhm_T, cases[0].obj.schedule.fwhm_T).all()
    assert objects.in_host_of(obj, cases[0].obj).scene == cases[0].obj.scene


def test_an_artefact_is_no_source_any_more_when_the_source_is_off(cases):
    """What is drawn as an artefact leaves with its source."""
    truth = {**cases[2].obj.truth, "artefact": "dipole", "artefact_day_00": 3.0, "artefact_sigma": 9.0}
    spoiled = objects.replace(cases[2].obj, truth=truth)
    assert not [name for name in objects.source_off(spoiled).truth if name.startswith("artefact")]


def test_reversed_series_run_backwards_from_zero():
    """Intervals between frames come in the opposite order, and histories after them."""
    series = a_series()
    past = History(np.array([-3.0, 2.0]), np.zeros(2, np.int8), np.ones(2, np.float32), np.ones(2, np.float32))
    turned, history = inputs.reversed_time(series, past)
    assert np.allclose(turned.time_T, [0, 1, 5, 6, 9, 10])
    assert np.array_equal(turned.flux_T, series.flux_T[::-1])
    assert np.allclose(history.time_P, [8, 13])


def test_hidden_parts_are_masked_or_sky():
    """A hidden centre is unknown, a hidden surrounding is at the level of the border."""
    series = a_series()
    hidden = inputs.without_centre(series, 2.0)
    assert np.isnan(hidden.pixels_TCHW[0, 0, 4, 4]) and np.isnan(hidden.flux_T).all()
    assert np.isfinite(hidden.pixels_TCHW[0, 0, 0]).all()
    centre = inputs.centre_only(series, 3)
    assert np.array_equal(centre.pixels_TCHW[:, :, 3:6, 3:6], series.pixels_TCHW[:, :, 3:6, 3:6])
    assert len(np.unique(centre.pixels_TCHW[0, 0, :3])) == 1
    assert abs(float(centre.pixels_TCHW[0, 0, 0, 0]) - 5) < 1
    assert np.isnan(inputs.without_pixels(series).pixels_TCHW).all()


def test_area_is_that_of_the_library():
    """The fast area under the curves equals the one of the scores."""
    rng = np.random.default_rng(2)
    label, probability = rng.integers(0, 4, 200), rng.dirichlet(np.ones(4), 200)
    from model.training.evaluation.scoring import score

    assert scores.area(label, probability) == pytest.approx(score(label, probability, CLASSES).auc)


def test_results_compare_with_the_same_objects_unchanged():
    """Changed answers are counted, those of swapped hosts among the swapped only, and verdicts follow the numbers."""
    label = np.repeat(np.arange(4), 25)
    sure, none = np.eye(4)[label], np.full((100, 4), 0.25)
    other = np.where(np.arange(100) < 50, (label + 1) % 4, -1)
    answers = [
        scores.ControlAnswers("unchanged", "physical", label, sure),
        scores.ControlAnswers("cadence only", "physical", label, none, sure),
        scores.ControlAnswers("fresh noise", "physical", label, sure, sure),
        scores.ControlAnswers("swap host of supernovae", "physical", label, np.eye(4)[(label + 1) % 4], sure, other),
        scores.ControlAnswers("label permutation", scores.ALL, label, none),
    ]
    rows = {row["control"]: row for row in controls.results(answers, CLASSES)}
    assert rows["unchanged"]["macro_f1"]["value"] == 1
    assert rows["cadence only"]["as_expected"] and rows["cadence only"]["difference"]["value"] == pytest.approx(-0.9)
    assert rows["fresh noise"]["as_expected"] and rows["fresh noise"]["flipped"]["value"] == 0
    assert rows["swap host of supernovae"]["taken_for_host"]["value"] == 1
    assert rows["swap host of supernovae"]["taken_before"]["value"] == 0
    text = scores.markdown(list(rows.values()))
    assert "that of the host 100%" in text and "Labels: physical" in text


def test_weights_are_controlled_without_a_data_set(tmp_path, capsys):
    """Without a data set new objects are drawn; every control of the network is in both files."""
    assert controls.main(["--weights", "sdss", "--per-class", "1", "--out", str(tmp_path)]) == 0
    table = json.loads((tmp_path / "sdss.json").read_text())
    controls_run = {row["control"] for row in table["controls"] if row["mode"] == "deconfounded"}
    trained = {"date only", "position only", "number and times only", "label permutation"}
    assert controls_run == {control.name for control in controls.CONTROLS} - trained
    assert "background only" in (tmp_path / "sdss.md").read_text()
    assert "seed 2026" in capsys.readouterr().out


def test_a_missing_data_set_is_refused_in_one_line(tmp_path, capsys):
    """A folder without a data set ends the command with status 2."""
    assert controls.main(["--data", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("benchmarks.controls: ")
