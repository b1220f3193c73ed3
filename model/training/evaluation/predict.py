"""A network and a shelf in, logits and probabilities of every object out. It draws nothing at random."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor, nn

from model.training.data.loader import Shelf

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


def in_order(shelf: Shelf, batch_size: int = BATCH) -> list[Tensor]:
    return list(torch.arange(len(shelf)).split(batch_size))


def softmax(logits: NDArray, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities along the last axis, in float64."""
    return np.asarray(special.softmax(np.asarray(logits, np.float64) / temperature, axis=-1))
