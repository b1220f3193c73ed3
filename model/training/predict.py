"""A network and a shelf in, logits, probabilities and features of every object out. It draws nothing at random."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor, nn

from model.grouped import GroupedNetwork
from model.training.shelf import Shelf

BATCH = 128


@torch.inference_mode()
def predict_logits(network: nn.Module, shelf: Shelf, batch_size: int = BATCH) -> NDArray[np.float32]:
    """Logits [N, K] of every object on the shelf, in its order. Leaves the network in evaluation mode."""
    network.eval()
    parts = [network(shelf.batch(index)[0]).float().cpu() for index in in_order(shelf, batch_size)]
    return torch.cat(parts).numpy()


def predict(network: nn.Module, shelf: Shelf, batch_size: int = BATCH) -> NDArray[np.float64]:
    """Probabilities [N, K] of every object on the shelf, in its order."""
    return softmax(predict_logits(network, shelf, batch_size))


@torch.inference_mode()
def predict_features(network: GroupedNetwork, shelf: Shelf, batch_size: int = BATCH) -> NDArray[np.float32]:
    """Penultimate features [N, F] of every object on the shelf, in its order."""
    network.eval()
    parts = [network.features(shelf.batch(index)[0]).float().cpu() for index in in_order(shelf, batch_size)]
    return torch.cat(parts).numpy()


@torch.inference_mode()
def predict_distance(network: GroupedNetwork, shelf: Shelf, batch_size: int = BATCH) -> NDArray[np.float64]:
    """How far from the training objects every object on the shelf is, [N], by the network's own memory of them.

    Raises
    ------
    ValueError
        When the network keeps none.
    """
    if network.familiar is None:
        raise ValueError(f"{network.name} has no memory of its training objects: calibrate it first")
    features_NF = torch.from_numpy(predict_features(network, shelf, batch_size))
    return network.familiar(features_NF.to(network.familiar.mean_KF.device)).double().cpu().numpy()


def in_order(shelf: Shelf, batch_size: int = BATCH) -> list[Tensor]:
    return list(torch.arange(len(shelf)).split(batch_size))


def softmax(logits: NDArray, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities along the last axis, in float64."""
    return np.asarray(special.softmax(np.asarray(logits, np.float64) / temperature, axis=-1))
