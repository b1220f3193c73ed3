"""The contract of every network: ``embed`` per group of frames, ``classify`` over the groups of a series.

Legend: ``B`` objects, ``N`` groups of frames of any objects, ``G`` groups of one object, ``T`` frames, ``C`` channels,
``H W`` pixels, ``P`` epochs without stamp, ``D`` width of an embedding (its trailing shape is the network's own),
``K`` classes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.past_photometry import History
from model.series import Photometry, Series

# No survey measures better than this. What claims to is kept from dividing by nearly nothing.
LEAST_ERROR_NJY, LEAST_RELATIVE_ERROR = 1e-3, 1e-6


@dataclass(frozen=True, slots=True)
class LightCurve:
    """Everything about frames but their pixels. Padding frames are False in ``mask_BT`` and 0 elsewhere."""

    band_BT: Tensor  # int64, index in model.series.BANDS
    time_BT: Tensor  # float32, days since the first frame of the series
    flux_BT: Tensor  # float32, nJy; 0 where unknown
    flux_error_BT: Tensor  # float32, nJy; 0 where unknown
    mask_BT: Tensor  # bool, True for real frames
    history: "LightCurve | None" = None  # epochs without stamp [B, P], in days since the same first frame
    drawn_from_B: Tensor | None = None  # int64, frames of the series that these were drawn from; None: these are all
    zero_B: Tensor | None = None  # float32, days that the zero of time was moved by when first frames left; None: 0

    def map(self, change: Callable[[Tensor], Tensor]) -> "LightCurve":
        """Change every tensor of the frames alike; the history stays."""
        return LightCurve(
            change(self.band_BT),
            change(self.time_BT),
            change(self.flux_BT),
            change(self.flux_error_BT),
            change(self.mask_BT),
            self.history,
            self.drawn_from_B,
            self.zero_B,
        )

    def padded(self, length: int) -> "LightCurve":
        """With padding frames at the end, up to ``length`` frames."""
        return self.map(lambda values: functional.pad(values, (0, length - values.shape[1])))

    def trimmed(self) -> "LightCurve":
        """Without the columns of the history that are padding in every row; padding stands at the end."""
        if self.history is None:
            return self
        longest = int(self.history.mask_BT.sum(1).max())
        return replace(self, history=self.history.map(lambda values: values[:, :longest]))

    def keep_epochs(self, keep: "Callable[[LightCurve], Tensor]") -> "LightCurve":
        """Forget the epochs of the history for which ``keep`` is False; without a history nothing changes."""
        if self.history is None:
            return self
        return replace(self, history=replace(self.history, mask_BT=self.history.mask_BT & keep(self.history)))

    def select(self, rows: Tensor) -> "LightCurve":
        """Only some objects, by a mask or by indices."""
        history = None if self.history is None else self.history.select(rows)
        return self._of_objects(lambda values: values[rows], history)

    def to(self, device: torch.device | str) -> "LightCurve":
        history = None if self.history is None else self.history.to(device)
        return self._of_objects(lambda values: values.to(device, non_blocking=True), history)

    def _of_objects(self, change: Callable[[Tensor], Tensor], history: "LightCurve | None") -> "LightCurve":
        """Change the tensors of the frames and those of one value an object alike."""

        def changed(values: Tensor | None) -> Tensor | None:
            return None if values is None else change(values)

        return replace(
            self.map(change), history=history, drawn_from_B=changed(self.drawn_from_B), zero_B=changed(self.zero_B)
        )

    @staticmethod
    def joined(curves: "Sequence[LightCurve]") -> "LightCurve":
        """The objects of all curves, padded to the longest; they have histories all or none."""
        length = max(curve.mask_BT.shape[1] for curve in curves)
        histories = [curve.history for curve in curves if curve.history is not None]
        whole = LightCurve.together([curve.padded(length) for curve in curves], 0)
        return replace(whole, history=LightCurve.joined(histories) if histories else None)

    @staticmethod
    def together(curves: "Sequence[LightCurve]", axis: int) -> "LightCurve":
        """Light curves side by side along an axis, objects or frames; without their histories."""
        return LightCurve(
            torch.cat([curve.band_BT for curve in curves], axis),
            torch.cat([curve.time_BT for curve in curves], axis),
            torch.cat([curve.flux_BT for curve in curves], axis),
            torch.cat([curve.flux_error_BT for curve in curves], axis),
            torch.cat([curve.mask_BT for curve in curves], axis),
        )


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


def in_order_of_time(*curves: LightCurve) -> tuple[LightCurve, Tensor]:
    """The frames of several light curves of the same objects as one, and the place [B, T] of each frame in it.

    At equal times the order is that of the curves; padding comes last. Histories are left out.
    """
    joined = LightCurve.together(curves, 1)
    when_BT = torch.where(joined.mask_BT, joined.time_BT, math.inf)
    index_T = torch.arange(when_BT.shape[1], device=when_BT.device)
    earlier_BTT = when_BT[:, None, :] < when_BT[:, :, None]
    earlier_BTT |= (when_BT[:, None, :] == when_BT[:, :, None]) & (index_T[None, :] < index_T[:, None])
    place_BT = earlier_BTT.sum(2)  # no sort: a stable one cannot be exported
    return joined.map(lambda values: torch.zeros_like(values).scatter(1, place_BT, values)), place_BT


def collate(series: Sequence[Series], length: int | None = None, histories: Sequence[History] | None = None) -> Frames:
    """Pad series at the end to one length and hand them to torch; serving and training both call this.

    Parameters
    ----------
    series
        All with the same C, H, W.
    length
        Frames per row of the result; the longest series when None.
    histories
        What else is known of each series, as :func:`model.past_photometry.lacking` gives it; None: nothing is read.

    Raises
    ------
    ValueError
        When a series is longer than ``length``.
    """
    curve = collate_curve(series, length, histories)
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


def collate_curve(
    series: Sequence[Photometry | Series], length: int | None = None, histories: Sequence[History] | None = None
) -> LightCurve:
    """The part of :func:`collate` that reads no pixels: what ``classify`` needs beside the embeddings."""
    longest = max(len(s) for s in series)
    length = longest if length is None else length
    if longest > length:
        raise ValueError(f"a series of {longest} frames does not fit in {length}: cut it first")
    zero = [float(s.time_T[0]) if len(s) else 0.0 for s in series]
    frames = [(s.band_T, s.time_T, s.flux_T, s.flux_error_T) for s in series]
    history = None
    if histories is not None:
        epochs = [(h.band_P, h.time_P, h.flux_P, h.flux_error_P) for h in histories]
        history = _padded(epochs, zero, max(len(h) for h in histories))
    return _padded(frames, zero, length, history)


def _padded(
    columns: Sequence[tuple[NDArray, ...]], zero: Sequence[float], length: int, history: LightCurve | None = None
) -> LightCurve:
    """A light curve of [B, length] from band, time, flux and flux error of every row; time counts from ``zero``."""
    count_B = np.array([len(band_T) for band_T, *_ in columns])
    mask = np.arange(length) < count_B[:, None]
    band = np.zeros(mask.shape, np.int64)
    time, flux, flux_error = (np.zeros(mask.shape, np.float32) for _ in range(3))
    bands, times, fluxes, flux_errors = map(np.concatenate, zip(*columns, strict=True))  # row after row, as in a mask
    band[mask] = bands
    time[mask] = times - np.repeat(zero, count_B)
    flux[mask] = np.where(np.isfinite(fluxes), fluxes, 0.0)
    flux_error[mask] = np.where(np.isfinite(flux_errors), flux_errors, 0.0)
    least = np.maximum(LEAST_ERROR_NJY, LEAST_RELATIVE_ERROR * np.abs(flux), dtype=np.float32)
    flux_error = np.where(flux_error > 0, np.maximum(flux_error, least), flux_error)
    as_tensor = torch.from_numpy
    return LightCurve(
        as_tensor(band), as_tensor(time), as_tensor(flux), as_tensor(flux_error), as_tensor(mask), history
    )
