"""Logits and probabilities of every object of a loader. It draws nothing at random."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor, nn

from model.networks.grouped import GroupedNetwork
from model.training.data.loader import Loader

BATCH = 32  # objects: more than this saves no time on a processor, and costs memory


@torch.inference_mode()
def predict_logits(network: nn.Module, loader: Loader, batch_size: int = BATCH) -> NDArray[np.float32]:
    """Logits [N, K] of every object of the loader, in its order. Leaves the network in evaluation mode."""
    network.eval()
    parts = [network(loader.batch(index)[0]).float().cpu() for index in in_order(loader, batch_size)]
    return torch.cat(parts).numpy()


@torch.inference_mode()
def predict_features(
    network: GroupedNetwork, loader: Loader, batch_size: int = BATCH
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Penultimate features [N, F] and logits [N, K] of every object of the loader, in its order."""
    network.eval()
    features = [network.features(loader.batch(index)[0]) for index in in_order(loader, batch_size)]
    logits = [network.head(part).float().cpu() for part in features]
    return torch.cat([part.float().cpu() for part in features]).numpy(), torch.cat(logits).numpy()


def predict(network: nn.Module, loader: Loader, batch_size: int = BATCH) -> NDArray[np.float64]:
    """Probabilities [N, K] of every object of the loader, in its order."""
    return softmax(predict_logits(network, loader, batch_size))


def in_order(loader: Loader, batch_size: int = BATCH) -> list[Tensor]:
    return list(torch.arange(len(loader)).split(batch_size))


def softmax(logits: NDArray, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities along the last axis, in float64."""
    return np.asarray(special.softmax(np.asarray(logits, np.float64) / temperature, axis=-1))
