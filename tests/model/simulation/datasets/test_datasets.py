"""Data sets of the simulated sky: the counts asked for, the same bytes whatever the workers, nothing that leaks."""

import json
from pathlib import Path

import numpy as np
import pytest

from model.data.dataset import Dataset
from model.simulation.datasets import draw as datasets
from model.simulation.datasets.plan import DatasetRecipe, DatasetRequest, load_recipe, parse_recipe, plan
from model.simulation.surveys import SDSS, survey_named


def tiny_recipe(**changes: object) -> DatasetRecipe:
    counts = {"AGN": 5, "SNIa": 4, "Variable": 5, "SNOther": 4}
    table = dict(load_recipe("smoke").source) | {
        "name": "tiny",
        "frames_at_most": 12,
        "groups": [
            {"split": "train", "labels": "photometric", "counts": counts},
            {"split": "test", "labels": "spectroscopic", "counts": {"SNIa": 2}, "mode": "deconfounded"},
        ],
        "photometric_labels": {"SNOther": [{"share": 1, "truth": {"AGN": 1.0}}]},
    }
    return parse_recipe(table | changes, "tiny")


def write(folder: Path, survey: str, workers: int = 1, seed: int = 5) -> Dataset:
    datasets.write_dataset(DatasetRequest(tiny_recipe(), survey_named(survey), seed), folder, workers)
    return Dataset.open(folder)


@pytest.fixture(scope="module")
def sdss(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write(tmp_path_factory.mktemp("sdss") / "set", "sdss")


@pytest.mark.parametrize("survey", ["sdss", "ztf", "lsst"])
def test_each_survey_gives_labelled_series(tmp_path: Path, survey: str) -> None:
    """Every object asked for is there, with frames of the survey's channels, bands, size and finite photometry."""
    dataset = write(tmp_path / "set", survey)
    assert len(dataset) == 20 and len(dataset.splits["test"]) == 2
    assert dataset.channels == (("science",) if survey == "sdss" else ("science", "template", "difference"))
    for i in range(len(dataset)):
        series = dataset.series(i)
        assert 1 <= len(series) <= 12
        assert np.isfinite(series.pixels_TCHW).mean() > 0.5
        assert np.isfinite(series.flux_T).mean() > 0.5 and np.nanmin(series.flux_error_T) > 0
        assert set(series.band_T.tolist()) <= {1, 2, 3} if survey != "lsst" else set(range(6))


def test_the_same_bytes_whatever_the_workers(tmp_path: Path, sdss: Dataset) -> None:
    """One process and two give equal files; another seed gives others."""
    write(tmp_path / "two", "sdss", workers=2)
    assert (tmp_path / "two/manifest.json").read_bytes() == (sdss.folder / "manifest.json").read_bytes()
    other = write(tmp_path / "other", "sdss", seed=6)
    assert other.manifest["files"] != sdss.manifest["files"]


def test_an_object_can_be_made_alone(sdss: Dataset) -> None:
    """Drawing one object of the plan gives what the data set holds of it."""
    request = DatasetRequest(tiny_recipe(), SDSS, 5)
    alone = datasets.draw(plan(request)[7], datasets.settings_of(request)).series
    np.testing.assert_array_equal(alone.pixels_TCHW, sdss.series(7).pixels_TCHW)
    np.testing.assert_array_equal(alone.flux_T, sdss.series(7).flux_T)


def test_wrong_labels_are_kept_in_the_truth(sdss: Dataset) -> None:
    """A photometric label may be wrong; the truth says what the object is."""
    truth = sdss.truth().to_pydict()
    for i in sdss.splits["train"]:
        wanted = "AGN" if truth["label"][i] == "SNOther" else truth["label"][i]
        assert truth["true_class"][i] == wanted
    assert {truth["label_mode"][i] for i in sdss.splits["test"]} == {"deconfounded"}


def test_no_frame_tells_the_date_or_the_place(sdss: Dataset) -> None:
    """Only pixels, bands, relative times and fluxes are in the files that a network reads."""
    assert all(sdss.series(i).time_T[0] == 0 for i in range(len(sdss)))
    manifest = json.loads((sdss.folder / "manifest.json").read_text())
    assert manifest["seed"] == 5 and manifest["recipe"]["name"] == "tiny"
    assert "first_mjd" in sdss.truth().column_names


def test_alert_series_start_at_the_first_detection(tmp_path: Path) -> None:
    """In an alert survey every frame is a detection of the difference image, bar the scatter of two measurements."""
    dataset = write(tmp_path / "set", "ztf")
    snr = np.concatenate([np.abs(s.flux_T / s.flux_error_T) for s in map(dataset.series, range(len(dataset)))])
    assert np.nanmedian(snr) > 5


def test_progress_is_told(tmp_path: Path) -> None:
    """The caller hears how many of how many objects are done, last that all are."""
    heard: list[tuple[int, int]] = []
    datasets.write_dataset(
        DatasetRequest(tiny_recipe(), SDSS, 5),
        tmp_path / "set",
        progress=lambda done, total: heard.append((done, total)),
    )
    assert heard[0] == (0, 20) and heard[-1] == (20, 20)
