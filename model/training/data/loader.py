"""Batches of frames on a device, by row numbers of a data set: collated once, by the code that serves alerts.

The loader knows neither augmentation nor losses.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data.dataset import Dataset
from model.networks.contract import Frames, LightCurve, collate
from model.networks.grouped import GroupedNetwork
from model.past_photometry import HISTORY_DAYS, lacking
from model.series import Series
from model.training.data.input_form import FORMS
from model.training.data.physics import Physics, physics_of

CHUNK = 64  # series collated at a time
POOL = 8  # batches among which series of like length are put together


class Loader:
    """Labelled series of some rows of a data set.

    Parameters
    ----------
    rows
        Row numbers of the data set; the loader's own index counts within them.
    frame_limit
        Of longer series only the newest frames are kept, as in the stream's memory.
    history_limit
        Epochs without stamp that are read beside each series; 0: none.
    device
        Where batches go. The series themselves stay there too, unless they are larger than ``memory_limit_bytes``
        (default: 1 GiB on the processor, 64 GiB elsewhere): then each batch is read from the data set's files.
    form
        In which the series are shown, a key of ``input_form.FORMS``.
    with_physics
        Also keep what the data set's truth tells of supernovae.

    Raises
    ------
    DatasetError
        When it is to tell of supernovae and does not.
    """

    def __init__(
        self,
        dataset: Dataset,
        rows: NDArray[np.int64],
        frame_limit: int,
        device: torch.device,
        memory_limit_bytes: int | None = None,
        form: str = "series",
        history_limit: int = 0,
        with_physics: bool = False,
    ) -> None:
        self.rows = rows
        self.device = device
        self.label_N = torch.from_numpy(dataset.labels[rows]).to(device)
        self._dataset = dataset
        self._frame_limit, self._history_limit = frame_limit, history_limit
        self._form = FORMS[form]
        self.history_days = HISTORY_DAYS.get(dataset.survey, 0.0)
        shown = [self._series(int(row)).time_T for row in rows]
        lengths = np.array([len(time_T) for time_T in shown], np.int64)
        first_mjd_N = np.array([time_T[0] if len(time_T) else np.nan for time_T in shown])
        self._physics = physics_of(dataset, rows, first_mjd_N) if with_physics else None
        self.length_N = torch.from_numpy(lengths)
        pixels = len(rows) * int(lengths.max(initial=0)) * len(dataset.channels) * dataset.size_px**2
        if memory_limit_bytes is None:
            memory_limit_bytes = (1 if device.type == "cpu" else 64) << 30
        fits = pixels * 5 <= memory_limit_bytes  # float32 pixels and their mask
        self._frames = self._collated(np.arange(len(rows)), int(lengths.max(initial=1))) if fits else None

    def __len__(self) -> int:
        return len(self.rows)

    def counts(self, classes: int) -> Tensor:
        """Objects of each class. Returns float32 [K]."""
        return torch.bincount(self.label_N.cpu(), minlength=classes).float()

    def batch(self, index: Tensor) -> tuple[Frames, Tensor]:
        """The series with these numbers in the loader, padded to the longest of them, and their labels."""
        length = int(self.length_N[index].max())
        if self._frames is None:
            return self._collated(index.numpy(), length), self.label_N[index.to(self.device)]
        at = index.to(self.device)
        whole, curve = self._frames, self._frames.curve
        frames = Frames(
            whole.pixels_BTCHW[at, :length],
            whole.pixel_mask_BTCHW[at, :length],
            whole.scale_BTC[at, :length],
            curve.select(at).map(lambda values: values[:, :length]).trimmed(),
        )
        return frames, self.label_N[at]

    def physics(self, index: Tensor) -> Physics | None:
        """What truth tells of the supernovae among these; None: it was not asked for."""
        return None if self._physics is None else self._physics.select(index).to(self.device)

    def _series(self, row: int) -> Series:
        series = self._form(self._dataset.series(row))
        return series[len(series) - min(len(series), self._frame_limit) :]

    def _collated(self, index: NDArray[np.int64], length: int) -> Frames:
        chunks = []
        for start in range(0, len(index), CHUNK):
            rows = [int(row) for row in self.rows[index[start : start + CHUNK]]]
            series = [self._series(row) for row in rows]
            histories = None
            if self._history_limit:
                pairs = zip(rows, series, strict=True)
                histories = [lacking([self._dataset.history(row)], one, self._history_limit) for row, one in pairs]
            chunks.append(collate(series, length, histories).to(self.device))
        return Frames(
            torch.cat([chunk.pixels_BTCHW for chunk in chunks]),
            torch.cat([chunk.pixel_mask_BTCHW for chunk in chunks]),
            torch.cat([chunk.scale_BTC for chunk in chunks]),
            LightCurve.joined([chunk.curve for chunk in chunks]),
        )


def loader_for(
    network: GroupedNetwork,
    dataset: Dataset,
    rows: NDArray[np.int64],
    device: torch.device,
    form: str = "series",
    with_physics: bool = False,
) -> Loader:
    """A loader of as much of these series as the network reads."""
    return Loader(
        dataset,
        rows,
        network.frame_limit,
        device,
        form=form,
        history_limit=network.history_limit,
        with_physics=with_physics,
    )


def batch_order(
    label_N: Tensor, batch_size: int, weighted: bool, generator: torch.Generator, length_N: Tensor | None = None
) -> list[Tensor]:
    """Numbers within a loader, in batches of one size for one epoch; an incomplete last batch does not count.

    Parameters
    ----------
    weighted
        Draw with replacement so that every class comes as often; else shuffle.
    length_N
        Of the series: among ``POOL`` batches put those of like length together, which saves padding.
    """
    label_N = label_N.cpu()
    if weighted:
        weight_N = (1.0 / torch.bincount(label_N).clamp(min=1).double())[label_N]
        order = torch.multinomial(weight_N, len(label_N), replacement=True, generator=generator)
    else:
        order = torch.randperm(len(label_N), generator=generator)
    batch_size = min(batch_size, len(order))
    if length_N is not None:
        order = torch.cat([pool[length_N[pool].argsort(stable=True)] for pool in order.split(POOL * batch_size)])
    batches = [order[i : i + batch_size] for i in range(0, len(order) - batch_size + 1, batch_size)]
    return batches if length_N is None else [batches[i] for i in torch.randperm(len(batches), generator=generator)]
