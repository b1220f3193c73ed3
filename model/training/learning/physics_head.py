"""Head that learns redshift, luminosity and age of supernovae beside the classes; it is not part of what is handed out.

Types of supernovae differ in luminosity, and in their light curves at one age: a network whose features tell redshift,
luminosity and age has the means to tell types. The loss is taken over the supernovae of a batch alone.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.networks.contract import LightCurve
from model.training.data.physics import Physics

WIDTH = 64
REDSHIFT_MIDDLE_DEX, REDSHIFT_UNIT_DEX = -1.0, 0.4
MAGNITUDE_MIDDLE, MAGNITUDE_UNIT = -18.0, 1.5
AGE_UNIT_D = 10.0  # below it ages enter linearly, above by their logarithm


class PhysicsHead(nn.Module):
    """Features to three numbers of order one.

    Legend: ``B`` objects, ``T`` frames at which it is asked, ``F`` features.
    """

    def __init__(self, feature_width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(feature_width, WIDTH), nn.GELU(), nn.Linear(WIDTH, 3))

    def loss(self, features_BTF: Tensor, curve: LightCurve, truth: Physics) -> Tensor:
        """Smooth L1 distance to what is true, a scalar: each supernova weighs the same, 0 where there is none.

        Parameters
        ----------
        curve
            Of the frames after which features were computed; its times since ``zero_B`` days after the first frame.
        """
        zero_B = torch.zeros_like(truth.explosion_B) if curve.zero_B is None else curve.zero_B
        age_BT = curve.time_BT + (zero_B - truth.explosion_B).unsqueeze(1)
        target_BT3 = torch.stack(
            [
                ((torch.log10(truth.redshift_B) - REDSHIFT_MIDDLE_DEX) / REDSHIFT_UNIT_DEX)[:, None].expand_as(age_BT),
                ((truth.peak_abs_mag_B - MAGNITUDE_MIDDLE) / MAGNITUDE_UNIT)[:, None].expand_as(age_BT),
                torch.asinh(age_BT / AGE_UNIT_D) / math.log(AGE_UNIT_D),
            ],
            -1,
        )
        known_BT3 = target_BT3.isfinite() & curve.mask_BT.unsqueeze(-1)
        distance_BT3 = functional.smooth_l1_loss(
            self.layers(features_BTF).float(), torch.where(known_BT3, target_BT3, 0.0), reduction="none"
        )
        known_B = known_BT3.sum((1, 2))
        of_each_B = torch.where(known_BT3, distance_BT3, 0.0).sum((1, 2)) / known_B.clamp(min=1)
        return of_each_B.sum() / (known_B > 0).sum().clamp(min=1)
