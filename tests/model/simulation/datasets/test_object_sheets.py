"""Contact sheets: every kind of data set can be looked at."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from model.data.dataset import Dataset, DatasetContents, DatasetWriter
from model.pictures.stamps import MOST_COLUMNS
from model.series import Series, compact
from model.simulation.datasets.object_sheet import NoSuchObjectError, draw_object, save_object


def make(folder: Path, survey: str, frames: int) -> Dataset:
    channels = ("science",) if survey == "sdss" else ("science", "template", "difference")
    rng = np.random.default_rng(1)
    drawn = [compact(rng.normal(0, 50, (len(channels), 9, 9)).astype(np.float32)) for _ in range(frames)]
    pixels = np.stack([pixels for pixels, _ in drawn])
    pixels[0] = np.nan  # a frame without any measurement
    series = Series(
        pixels,
        np.stack([scale for _, scale in drawn]),
        (1 + np.arange(frames) % 3).astype(np.int8),
        (np.arange(frames) // 3 * 4).astype(np.float64),
        rng.normal(1000, 200, frames).astype(np.float32),
        np.full(frames, 150, np.float32),
    )
    with DatasetWriter(folder, DatasetContents(survey, channels, 9, ("AGN", "SNIa"), "test", 1, "0")) as writer:
        truth = {"true_class": "AGN", "true_flux_T": np.full(frames, 1000.0), "redshift": 0.2, "ebv_mag": np.nan}
        writer.append(0, "SNIa", "train", None, series, truth)
        writer.append(1, "AGN", "train", None, series, {"true_class": "AGN"})
    return Dataset.open(folder)


@pytest.mark.parametrize("survey", ["sdss", "ztf", "lsst"])
@pytest.mark.parametrize("frames", [1, 7, 60])
def test_an_object_becomes_a_picture(tmp_path: Path, survey: str, frames: int) -> None:
    """Series of any length and survey give an image with something on it, masked frames included."""
    dataset = make(tmp_path / "set", survey, frames)
    save_object(dataset, 0, tmp_path / "sheet.png")
    image = imread(tmp_path / "sheet.png")
    assert image.shape[0] > 300 and image.shape[1] > 1000 and image.std() > 0.05


def test_a_sheet_says_what_is_true(tmp_path: Path) -> None:
    """A wrong label is shown beside the truth; what is unknown is left out."""
    figure = draw_object(make(tmp_path / "set", "sdss", 12), 0)
    words = " ".join(text.get_text() for text in figure.texts)
    assert "labelled SNIa, truly AGN" in words and "redshift 0.20" in words and "E(B" not in words


def test_long_series_are_thinned(tmp_path: Path) -> None:
    """A sheet has at most as many columns as fit."""
    figure = draw_object(make(tmp_path / "set", "ztf", 60), 1)
    assert len(figure.axes) == 1 + 3 * MOST_COLUMNS


def test_a_missing_object_is_an_error(tmp_path: Path) -> None:
    """An object that the data set does not hold is named with the range that it holds."""
    dataset = make(tmp_path / "set", "sdss", 3)
    with pytest.raises(NoSuchObjectError, match="--object 0 to 1"):
        draw_object(dataset, 2)
