"""Facts of a data set that a network must know: sizes, bands, typical pixels of its training rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import Dataset
from model.networks.contract import collate_curve
from model.networks.nightly_photometry import measure_photometry
from model.past_photometry import HISTORY_LIMIT
from model.series import BANDS, MAD_TO_SIGMA
from model.training.data.input_form import FORMS

SAMPLE = 400  # objects that the typical pixels are measured on
CLIP_SIGMA = 5.0  # a star's core must not set the scale of the sky around it


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """Measured on training rows only."""

    class_count: int
    channels: int
    size: int  # pixels
    frame_limit: int  # longest series
    bands: str  # those that occur, in the order of model.series.BANDS
    mean_njy: tuple[tuple[float, ...], ...]  # [band][channel] of the pixels, nJy
    sigma_njy: tuple[tuple[float, ...], ...]
    photometry: Mapping[str, Any]  # how light-curve networks standardise
    history_limit: int = 0  # epochs without stamp that packets tell of

    def settings(self) -> dict[str, Any]:
        """Settings that any network may take."""
        return {
            "class_count": self.class_count,
            "channels": self.channels,
            "size": self.size,
            "frame_limit": self.frame_limit,
            "mean_njy": self.mean_njy,
            "sigma_njy": self.sigma_njy,
            "bands": self.bands,
            "history_limit": self.history_limit,
            "baseline": self.channels == 1,  # fluxes of direct images hold the host
            **self.photometry,
        }


def measure(dataset: Dataset, rows: NDArray[np.int64], form: str = "series") -> DatasetFacts:
    """What the training rows are like, in the form in which they will be shown.

    Mean and standard deviation are those of all pixels of a band and channel, after cutting off what lies more than
    ``CLIP_SIGMA`` robust deviations from the median; a band that does not occur takes the mean of those that do.
    """
    bands, channels = len(BANDS), len(dataset.channels)
    pixels: list[list[list[NDArray]]] = [[[] for _ in range(channels)] for _ in range(bands)]
    longest = 0
    seen: set[int] = set()
    chosen = set(rows[:: max(1, len(rows) // SAMPLE)].tolist())
    for row in rows:
        series = FORMS[form](dataset.series(int(row)))
        longest = max(longest, len(series))
        seen.update(series.band_T.tolist())
        if int(row) not in chosen:
            continue
        for band in set(series.band_T.tolist()):
            of_band = series.band_T == band
            values = series.pixels_TCHW[of_band].astype(np.float32) * series.scale_TC[of_band][..., None, None]
            for channel in range(channels):
                plane = values[:, channel]
                pixels[band][channel].append(plane[np.isfinite(plane)][::3])
    mean = np.full((bands, channels), np.nan)
    sigma = np.full((bands, channels), np.nan)
    for band in range(bands):
        for channel in range(channels):
            if pixels[band][channel]:
                mean[band, channel], sigma[band, channel] = clipped(np.concatenate(pixels[band][channel]))
    for channel in range(channels):
        absent = ~np.isfinite(sigma[:, channel])
        mean[absent, channel] = np.nanmean(mean[:, channel])
        sigma[absent, channel] = np.nanmean(sigma[:, channel])
    curve = collate_curve([FORMS[form](dataset.series(row)) for row in sorted(chosen)])
    return DatasetFacts(
        class_count=len(dataset.classes),
        channels=channels,
        size=dataset.size_px,
        frame_limit=longest,
        bands="".join(BANDS[band] for band in sorted(seen)),
        mean_njy=tuple(tuple(float(v) for v in line) for line in mean),
        sigma_njy=tuple(tuple(float(v) for v in line) for line in sigma),
        photometry=measure_photometry(curve) if (curve.flux_error_BT > 0).any() else {},
        history_limit=HISTORY_LIMIT if dataset.has_history and form == "series" else 0,
    )


def clipped(values: NDArray) -> tuple[float, float]:
    """Mean and standard deviation of what is not far out; the deviation is never 0."""
    middle = np.median(values)
    spread = MAD_TO_SIGMA * np.median(np.abs(values - middle))
    near = values[np.abs(values - middle) <= CLIP_SIGMA * spread] if spread > 0 else values
    deviation = float(near.std())
    return float(near.mean()), deviation if deviation > 0 else 1.0
