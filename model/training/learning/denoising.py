"""Denoising loss: a network is shown some nights disturbed and tells what they were.

This is how SITS-BERT learns from light curves without labels. It knows no labels, no optimiser and no schedule. The
decoder that turns a network's features into values is kept here: a classifier has no use for it.

Legend: ``B`` objects, ``N`` nights, ``L`` values of a night (its bands), ``E`` features of a night.

References
----------
Yuan & Lin 2021, IEEE J-STARS 14, 474, "Self-supervised pretraining of transformers for satellite image time series".
"""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from model.networks.contract import LightCurve
from model.networks.nightly_photometry import Nights

RATE = 0.15  # share of the nights that are disturbed
LARGEST = 0.5  # of a disturbance, in standard deviations


@runtime_checkable
class ReadsNights(Protocol):
    """What a network must offer in order to learn by restoring."""

    config: Any  # with ``bands``: the values of a night
    feature_width: int  # E

    def nights(self, curve: LightCurve) -> tuple[Tensor, Nights]:
        """Standardised values [B, N, L], 0 where not measured, and the nights that they are of."""
        ...

    def read_nights(self, values_BNL: Tensor, nights: Nights) -> Tensor:
        """Features [B, N, E] of each night among the others."""
        ...


class Restorer(nn.Module):
    """A linear layer from the features of a night to its values, and the loss by which it learns with the network."""

    def __init__(self, network: ReadsNights) -> None:
        super().__init__()
        self.decoder = nn.Linear(network.feature_width, len(network.config.bands))

    def forward(self, network: ReadsNights, curve: LightCurve, rate: float = RATE, largest: float = LARGEST) -> Tensor:
        """Mean squared error of the disturbed values, a scalar; 0 where nothing was disturbed."""
        values_BNL, nights = network.nights(curve)
        disturbed_BNL, at_BNL = disturb(values_BNL, nights.measured_BNL, rate, largest)
        restored_BNL = self.decoder(network.read_nights(disturbed_BNL, nights))
        error_BNL = (restored_BNL.float() - values_BNL).square()
        return torch.where(at_BNL, error_BNL, 0.0).sum() / at_BNL.sum().clamp(min=1)


def disturb(values_BNL: Tensor, measured_BNL: Tensor, rate: float, largest: float) -> tuple[Tensor, Tensor]:
    """Make each night, with probability ``rate``, brighter or fainter in all bands by up to ``largest``.

    Each band draws its own amount; what was not measured stays 0. The draws are of torch's own generator, which the
    training loop seeds at every step. Returns values, and which of them were disturbed (bool), both [B, N, L].
    """
    chosen_BN1, upwards_BN1 = (torch.rand_like(values_BNL[..., :1]) < share for share in (rate, 0.5))
    amount_BNL = largest * torch.rand_like(values_BNL)
    at_BNL = chosen_BN1 & measured_BNL
    return values_BNL + torch.where(at_BNL, torch.where(upwards_BN1, amount_BNL, -amount_BNL), 0.0), at_BNL
