"""A network and a shelf in, what the network says of every prefix of every series out, as the stream would.

Legend: ``B`` objects, ``T`` frames, ``G`` groups, ``S`` frames of a group, ``K`` classes.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.dataset import Dataset
from model.grouped import GroupedNetwork, cut_groups, select_rows
from model.network import Frames, LightCurve
from model.training.early import Histories, first_detection
from model.training.predict import BATCH, in_order, softmax
from model.training.shelf import Shelf


@torch.inference_mode()
def prefix_logits(network: GroupedNetwork, frames: Frames) -> Tensor:
    """Logits after each frame, from nothing later than it. Returns [B, T, K]; rows of padding mean nothing."""
    whole = getattr(network, "prefix_logits", None)
    if whole is not None:
        return whole(frames)
    size, mask_BT = network.group_size, frames.curve.mask_BT
    full = network.embed_series(frames)[:, : -(-mask_BT.shape[1] // size)]
    groups, _ = cut_groups(frames, size)
    steps = []
    for t in range(mask_BT.shape[1]):
        last = t // size
        known = full[:, : last + 1].clone()
        if (t + 1) % size:
            row = torch.arange(len(mask_BT), device=mask_BT.device) * full.shape[1] + last
            partial = first_frames(select_rows(groups, row), (t + 1) % size)
            known[:, last] = network.embed(partial)
        steps.append(network.classify(known, first_of_curve(frames.curve, t + 1)))
    return torch.stack(steps, 1)


@torch.inference_mode()
def all_answers(
    network: GroupedNetwork, shelf: Shelf, batch_size: int = BATCH
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
    """Logits [M, K] after every frame of every object, labels [M], and weights [M]: those of an object sum to 1."""
    network.eval()
    logits, labels, weights = [], [], []
    for index in in_order(shelf, batch_size):
        frames, label_B = shelf.batch(index)
        mask_BT = frames.curve.mask_BT
        logits.append(prefix_logits(network, frames)[mask_BT].float().cpu())
        labels.append(label_B[:, None].expand(mask_BT.shape)[mask_BT].cpu())
        weights.append((1 / mask_BT.sum(1, keepdim=True)).expand(mask_BT.shape)[mask_BT].cpu())
    return torch.cat(logits).numpy(), torch.cat(labels).numpy(), torch.cat(weights).double().numpy()


def first_of_curve(curve: LightCurve, length: int) -> LightCurve:
    """The light curve up to a frame."""
    return curve.map(lambda values: values[:, :length])


def first_frames(frames: Frames, length: int | Tensor) -> Frames:
    """The same number of frames, those after the first few being padding; ``length`` may differ by row, [B, 1]."""
    curve = frames.curve
    keep_T = torch.arange(curve.mask_BT.shape[1], device=curve.mask_BT.device) < length
    keep_BT = curve.mask_BT & keep_T
    cut = curve.map(lambda values: values * keep_BT)
    until_B1 = cut.time_BT.amax(1, keepdim=True)
    pixel_BT = keep_BT[..., None, None, None]
    return Frames(
        frames.pixels_BTCHW * pixel_BT,
        frames.pixel_mask_BTCHW & pixel_BT,
        torch.where(keep_BT[..., None], frames.scale_BTC, 1.0),
        cut.keep_epochs(lambda history: history.time_BT <= until_B1),
    )


def histories_of(
    network: GroupedNetwork,
    dataset: Dataset,
    shelf: Shelf,
    probabilities: Callable[[NDArray], NDArray[np.float64]] = softmax,
    batch_size: int = BATCH,
) -> Histories:
    """What the network says of every object on the shelf after each of its frames, by a rule from logits.

    Frames before the first detection count as history, not as answers: see :class:`model.training.early.Histories`.
    """
    network.eval()
    count, longest = len(shelf), int(shelf.length_N.max())
    time_NT = np.full((count, longest), np.nan)
    detected_N = detected_frames(dataset, shelf.rows, shelf.length_N.numpy())
    probability_NTK: NDArray[np.float64] | None = None
    for index in in_order(shelf, batch_size):
        frames, _ = shelf.batch(index)
        answers = probabilities(prefix_logits(network, frames).float().cpu().numpy())
        if probability_NTK is None:
            probability_NTK = np.full((count, longest, answers.shape[2]), np.nan)
        curve = frames.curve.to("cpu")
        for row, n in enumerate(index.tolist()):
            length = int(curve.mask_BT[row].sum())
            time_NT[n, :length] = curve.time_BT[row, :length].numpy()
            probability_NTK[n, :length] = answers[row, :length]
    assert probability_NTK is not None
    return Histories(shelf.label_N.cpu().numpy(), probability_NTK, time_NT, detected_N, peak_days(dataset, shelf.rows))


def detected_frames(dataset: Dataset, rows: NDArray[np.int64], length_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """The frame of each object's first detection, of so many newest frames.

    Alert streams have no frame before it. Elsewhere the truth knows; without it, photometry must stand out from the
    object's own median.
    """
    if "difference" in dataset.channels:
        return np.zeros(len(rows), np.int64)
    truth = dataset.truth()
    known = {"first_detection", "visit_T"} <= set(truth.column_names)
    first = truth["first_detection"].to_numpy() if known else None
    visits = truth["visit_T"] if known else None
    found = []
    for row, length in zip(rows, length_N.tolist(), strict=True):
        if first is not None and visits is not None:
            visit_T = visits[int(row)].values.to_numpy()[-length:]
            found.append(min(int(np.searchsorted(visit_T, first[row])), length - 1))
        else:
            series = dataset.series(int(row))
            flux_T = series.flux_T[-length:]
            found.append(first_detection(flux_T - np.nanmedian(flux_T), series.flux_error_T[-length:]))
    return np.array(found, np.int64)


def peak_days(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Days from the first frame to peak light, from the truth; NaN where there is no peak or no truth of it."""
    truth = dataset.truth()
    needed = ("peak_day", "origin_mjd", "first_mjd", "kind")
    if not set(needed) <= set(truth.column_names):
        return np.full(len(rows), np.nan)
    peak_N, origin_N, first_N, kind_N = (truth[name].to_numpy(zero_copy_only=False) for name in needed)
    day_N = peak_N.astype(float) + origin_N.astype(float) - first_N.astype(float)
    return np.where(kind_N == "SN", day_N, np.nan)[rows]
