"""Predictions of a network for every prefix of every series, as the stream would make them.

Legend: ``B`` objects, ``T`` frames, ``G`` groups, ``S`` frames of a group, ``K`` classes, ``F`` features.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data.dataset import Dataset
from model.networks.contract import Frames, LightCurve
from model.networks.grouped import GroupedNetwork, cut_groups, select_rows
from model.serving.card import UnknownScore
from model.training.data.loader import Loader
from model.training.evaluation.early import PrefixPredictions, first_detection
from model.training.evaluation.predict import BATCH, in_order, softmax

DETECTED_SIGMA = 3.0  # of an epoch without stamp that counts as a detection, as in the stream


@dataclass(frozen=True, slots=True)
class PrefixAnswers:
    """What a network says at many moments of many objects, M in all; the weights of an object's moments sum to 1."""

    logits_MK: NDArray[np.float32]
    features_MF: NDArray[np.float32] | None  # None where logits are no function of features alone
    label_M: NDArray[np.int64]
    weight_M: NDArray[np.float64]
    object_M: NDArray[np.int64]  # number in the loader
    age_M: NDArray[np.float64]  # days since the first frame, or since a detection before it that packets tell of

    @torch.inference_mode()
    def distances(self, network: GroupedNetwork) -> NDArray[np.float64] | None:
        """How far from the training objects each answer is, [M]; None where the network keeps no memory of them."""
        if network.familiar is None or self.features_MF is None:
            return None
        features_MF = torch.from_numpy(self.features_MF).to(network.familiar.mean_KF.device)
        return network.familiar(features_MF).double().cpu().numpy()


@torch.inference_mode()
def prefix_answers(network: GroupedNetwork, frames: Frames) -> tuple[Tensor, Tensor | None]:
    """Logits [B, T, K] and features [B, T, F] after each frame, from nothing later than it; padding's mean nothing.

    There are no features where logits are no function of them alone.
    """
    if not network.one_pass:
        logits = getattr(network, "prefix_logits", None)
        return (logits(frames) if logits is not None else by_prefix(network, frames, network.classify)), None
    features = getattr(network, "prefix_features", None)
    features_BTF = features(frames) if features is not None else by_prefix(network, frames, network.penultimate)
    return network.head(features_BTF), features_BTF


def by_prefix(network: GroupedNetwork, frames: Frames, ask: Callable[[Tensor, LightCurve], Tensor]) -> Tensor:
    """What ``ask`` says of the embeddings and light curve of every prefix, one after the other. Returns [B, T, ...]."""
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
        steps.append(ask(known, first_of_curve(frames.curve, t + 1)))
    return torch.stack(steps, 1)


@torch.inference_mode()
def answers_of(network: GroupedNetwork, loader: Loader, prefixes: bool, batch_size: int = BATCH) -> PrefixAnswers:
    """What the network says of whole series, or after every frame of them: then an object's moments weigh alike."""
    network.eval()
    logits, features, labels, weights, objects, ages = [], [], [], [], [], []
    for index in in_order(loader, batch_size):
        frames, label_B = loader.batch(index)
        age_BT = frames.curve.time_BT - first_detection_of(frames.curve)
        if prefixes:
            at_BT = frames.curve.mask_BT
            logits_BTK, features_BTF = prefix_answers(network, frames)
            logits.append(logits_BTK[at_BT])
            features += [] if features_BTF is None else [features_BTF[at_BT]]
            labels.append(label_B[:, None].expand(at_BT.shape)[at_BT])
            weights.append((1 / at_BT.sum(1, keepdim=True)).expand(at_BT.shape)[at_BT])
            objects.append(index[:, None].to(at_BT.device).expand(at_BT.shape)[at_BT])
            ages.append(age_BT[at_BT])
        else:
            features += [network.features(frames)] if network.one_pass else []
            logits.append(network.head(features[-1]) if features else network(frames))
            labels.append(label_B)
            weights.append(torch.ones(len(label_B)))
            objects.append(index)
            ages.append(torch.where(frames.curve.mask_BT, age_BT, -math.inf).amax(1))

    def all_of(parts: list[Tensor]) -> NDArray:
        return torch.cat([part.cpu() for part in parts]).numpy()

    return PrefixAnswers(
        all_of(logits).astype(np.float32),
        all_of(features).astype(np.float32) if features else None,
        all_of(labels),
        all_of(weights).astype(np.float64),
        all_of(objects),
        all_of(ages).astype(np.float64),
    )


def first_detection_of(curve: LightCurve) -> Tensor:
    """When each object was first detected, [B, 1]: at its first frame, or earlier where its packets say so."""
    first_B1 = curve.time_BT[:, :1]
    history = curve.history
    if history is None:
        return first_B1
    detected_BP = history.mask_BT & (history.flux_BT.abs() >= DETECTED_SIGMA * history.flux_error_BT)
    earliest_B1 = torch.where(detected_BP, history.time_BT, math.inf).amin(1, keepdim=True)
    return torch.minimum(first_B1, earliest_B1)


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


def predict_prefixes(
    network: GroupedNetwork,
    dataset: Dataset,
    loader: Loader,
    probabilities: Callable[[NDArray], NDArray[np.float64]] = softmax,
    unknown: UnknownScore | None = None,
    batch_size: int = BATCH,
) -> PrefixPredictions:
    """Probabilities of every object of the loader after each of its frames, by a rule from logits.

    With ``unknown`` also how strange it finds them. Frames before the first detection count as the past, not as
    answers: see :class:`model.training.evaluation.early.PrefixPredictions`.
    """
    network.eval()
    count, longest = len(loader), int(loader.length_N.max())
    time_NT = np.full((count, longest), np.nan)
    detected_N = detected_frames(dataset, loader.rows, loader.length_N.numpy())
    probability_NTK: NDArray[np.float64] | None = None
    unknown_NT = None if unknown is None else np.full((count, longest), np.nan)
    for index in in_order(loader, batch_size):
        frames, _ = loader.batch(index)
        logits_BTK, features_BTF = prefix_answers(network, frames)
        answers = probabilities(logits_BTK.float().cpu().numpy())
        if probability_NTK is None:
            probability_NTK = np.full((count, longest, answers.shape[2]), np.nan)
        strange_BT = None if unknown is None else unknown_of(network, unknown, logits_BTK, features_BTF)
        curve = frames.curve.to("cpu")
        for row, n in enumerate(index.tolist()):
            length = int(curve.mask_BT[row].sum())
            time_NT[n, :length] = curve.time_BT[row, :length].numpy()
            probability_NTK[n, :length] = answers[row, :length]
            if unknown_NT is not None and strange_BT is not None:
                unknown_NT[n, :length] = strange_BT[row, :length]
    assert probability_NTK is not None
    return PrefixPredictions(
        loader.label_N.cpu().numpy(), probability_NTK, time_NT, detected_N, peak_days(dataset, loader.rows), unknown_NT
    )


@torch.inference_mode()
def unknown_of(
    network: GroupedNetwork, score: UnknownScore, logits_XK: Tensor, features_XF: Tensor | None
) -> NDArray[np.float64]:
    """The unknown score of answers of any shape [..., K] and [..., F]. Returns [...]."""
    logits_MK = logits_XK.flatten(0, -2)
    distance_M = None
    if network.familiar is not None and features_XF is not None:
        distance_M = network.familiar(features_XF.flatten(0, -2)).double().cpu().numpy()
    return score.of(logits_MK.double().cpu().numpy(), distance_M).reshape(logits_XK.shape[:-1])


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
    frames = []
    for row, length in zip(rows, length_N.tolist(), strict=True):
        if first is not None and visits is not None:
            visit_T = visits[int(row)].values.to_numpy()[-length:]
            frames.append(min(int(np.searchsorted(visit_T, first[row])), length - 1))
        else:
            series = dataset.series(int(row))
            flux_T = series.flux_T[-length:]
            frames.append(first_detection(flux_T - np.nanmedian(flux_T), series.flux_error_T[-length:]))
    return np.array(frames, np.int64)


def peak_days(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Days from the first frame to peak light, from the truth; NaN where there is no peak or no truth of it."""
    truth = dataset.truth()
    needed = ("peak_day", "origin_mjd", "first_mjd", "kind")
    if not set(needed) <= set(truth.column_names):
        return np.full(len(rows), np.nan)
    peak_N, origin_N, first_N, kind_N = (truth[name].to_numpy(zero_copy_only=False) for name in needed)
    day_N = peak_N.astype(float) + origin_N.astype(float) - first_N.astype(float)
    return np.where(kind_N == "SN", day_N, np.nan)[rows]
