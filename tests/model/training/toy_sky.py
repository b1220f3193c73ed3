"""A toy sky for the tests of training: four classes that differ in how their point source varies."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model.data.dataset import Dataset, DatasetContents, DatasetWriter
from model.series import Series, compact
from model.taxonomy import load_taxonomy

SIZE, FRAMES, NOISE_NJY = 15, 9, 50.0
CLASSES = load_taxonomy().classes


def toy_series(label: int, rng: np.random.Generator, frames: int = FRAMES, channels: int = 1) -> Series:
    """AGN wander, SNe Ia rise and fall fast, variable stars alternate, other SNe stay bright."""
    time = np.sort(rng.uniform(0, 60, frames))
    band = rng.integers(1, 4, frames).astype(np.int8)
    phase = time - rng.uniform(10, 30)
    flux = [
        1000 + 300 * np.cumsum(rng.normal(size=frames)),
        4000 * np.exp(-0.5 * (phase / 8) ** 2),
        2000 * np.sign(np.sin(time)),
        3000 * (phase > 0) * np.exp(-np.maximum(phase, 0) / 80),
    ][label]
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    psf = np.exp(-0.5 * (x**2 + y**2) / 1.5**2)
    psf /= psf.sum()
    pixels = flux[:, None, None, None] * psf + rng.normal(0, NOISE_NJY, (frames, channels, SIZE, SIZE))
    compacted = [compact(frame) for frame in pixels.astype(np.float32)]
    return Series(
        np.stack([frame for frame, _ in compacted]),
        np.stack([scale for _, scale in compacted]),
        band,
        time,
        (flux + rng.normal(0, 150, frames)).astype(np.float32),
        np.full(frames, 150.0, np.float32),
    )


def write_toy(
    folder: Path,
    splits: dict[str, int],
    seed: int = 1,
    channels: int = 1,
    survey: str = "sdss",
    classes: Sequence[str] = CLASSES,
) -> Dataset:
    """A data set with this many objects a split, classes in turn, lengths that differ, five folds without pretrain."""
    rng = np.random.default_rng(seed)
    names = ("science", "template", "difference")[:channels]
    with DatasetWriter(folder, DatasetContents(survey, names, SIZE, classes, "toy", seed, "test")) as writer:
        number = 0
        for split, count in splits.items():
            for i in range(count):
                label = i % len(classes)
                fold = None if split in ("pretrain", "validation") else i % 5
                series = toy_series(label, rng, FRAMES - int(rng.integers(4)), channels)
                writer.append(number, classes[label], split, fold, series, {"subtype": classes[label]})
                number += 1
    return Dataset.open(folder)
