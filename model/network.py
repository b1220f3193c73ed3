"""The contract of every network: series in, ``embed`` per group of frames, ``classify`` over groups, logits out.

Legend: ``B`` objects, ``N`` groups of frames of any objects, ``G`` groups of one object, ``T`` frames, ``C`` channels,
``H W`` pixels, ``D`` width of an embedding (its trailing shape is the network's own), ``K`` classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from model.series import Series


@dataclass(frozen=True, slots=True)
class LightCurve:
    """Everything about frames but their pixels. Padding frames are False in ``mask_BT`` and 0 elsewhere."""

    band_BT: Tensor  # int64, index in model.series.BANDS
    time_BT: Tensor  # float32, days since the first frame of the series
    flux_BT: Tensor  # float32, nJy; 0 where unknown
    flux_error_BT: Tensor  # float32, nJy; 0 where unknown
    mask_BT: Tensor  # bool, True for real frames

    def to(self, device: torch.device | str) -> "LightCurve":
        return LightCurve(*(getattr(self, name).to(device, non_blocking=True) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Frames:
    """A batch of series, padded at the end to equal length."""

    pixels_BTCHW: Tensor  # float32, nJy per pixel; 0 where masked
    pixel_mask_BTCHW: Tensor  # bool, True for observed pixels
    scale_BTC: Tensor  # float32, nJy per pixel: robust noise of each channel; 1 on padding
    curve: LightCurve

    def to(self, device: torch.device | str) -> "Frames":
        return Frames(
            self.pixels_BTCHW.to(device, non_blocking=True),
            self.pixel_mask_BTCHW.to(device, non_blocking=True),
            self.scale_BTC.to(device, non_blocking=True),
            self.curve.to(device),
        )


class Network(Protocol):
    """What the stream and the training loop ask of a network (each is also a ``torch.nn.Module``)."""

    frame_limit: int  # longest series it reads
    group_size: int  # frames per embedding; groups do not overlap and start at the first frame

    def embed(self, frames: Frames) -> Tensor:
        """One embedding per group: ``frames`` holds one group per row (T == group_size). Returns [N, D...].

        Must not depend on ``time_BT``, whose zero moves when a series is cut; nor on any other row.
        """
        ...

    def classify(self, embeddings_BGD: Tensor, curve: LightCurve) -> Tensor:
        """Logits [B, K] of series whose groups are embedded; which frames are real is in ``curve.mask_BT``."""
        ...


def collate(series: Sequence[Series], length: int | None = None) -> Frames:
    """Pad series at the end to one length and hand them to torch; serving and training both call this.

    Parameters
    ----------
    series
        All with the same C, H, W.
    length
        Frames per row of the result; the longest series when None.

    Raises
    ------
    ValueError
        When a series is longer than ``length``.
    """
    curve = collate_curve(series, length)
    rows, length = curve.mask_BT.shape
    _, channels, height, width = series[0].pixels_TCHW.shape
    pixels = np.zeros((rows, length, channels, height, width), np.float32)
    pixel_mask = np.zeros(pixels.shape, bool)
    scale = np.ones((rows, length, channels), np.float32)
    for row, s in enumerate(series):
        n = len(s)
        if n == 0:
            continue
        pixel_mask[row, :n] = np.isfinite(s.pixels_TCHW)
        scale[row, :n] = s.scale_TC
        np.multiply(s.pixels_TCHW, s.scale_TC[..., None, None], out=pixels[row, :n], where=pixel_mask[row, :n])
    as_tensor = torch.from_numpy
    return Frames(as_tensor(pixels), as_tensor(pixel_mask), as_tensor(scale), curve)


def collate_curve(series: Sequence[Series], length: int | None = None) -> LightCurve:
    """The part of :func:`collate` that reads no pixels: what ``classify`` needs beside the embeddings."""
    longest = max(len(s) for s in series)
    length = longest if length is None else length
    if longest > length:
        raise ValueError(f"a series of {longest} frames does not fit in {length}: cut it first")
    rows = len(series)
    band = np.zeros((rows, length), np.int64)
    time, flux, flux_error = (np.zeros((rows, length), np.float32) for _ in range(3))
    mask = np.zeros((rows, length), bool)
    for row, s in enumerate(series):
        n = len(s)
        if n == 0:
            continue
        band[row, :n] = s.band_T
        time[row, :n] = s.time_T - s.time_T[0]
        flux[row, :n] = np.nan_to_num(s.flux_T)
        flux_error[row, :n] = np.nan_to_num(s.flux_error_T)
        mask[row, :n] = True
    as_tensor = torch.from_numpy
    return LightCurve(as_tensor(band), as_tensor(time), as_tensor(flux), as_tensor(flux_error), as_tensor(mask))
