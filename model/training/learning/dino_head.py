"""DINO's head: features to cosines with prototypes, between which views agree.

References
----------
Caron et al. 2021, "Emerging properties in self-supervised vision transformers": three layers, 2,048 wide, to 256 and
65,536 prototypes for a million images; narrower here, for thousands of objects.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN = 512
PROTOTYPES = 1024


class DinoHead(nn.Module):
    """Features [B, F] to cosines with prototypes [B, ``PROTOTYPES``], float32 whatever the precision around it."""

    def __init__(self, feature_width: int, projection_width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(feature_width, HIDDEN),
            nn.GELU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.GELU(),
            nn.Linear(HIDDEN, projection_width),
        )
        self.prototypes_PD = nn.Parameter(torch.randn(PROTOTYPES, projection_width))

    def forward(self, features_BF: Tensor) -> Tensor:
        projection_BD = self.layers(features_BF).float()
        with torch.autocast(projection_BD.device.type, enabled=False):  # they are divided by a twentieth and less
            return functional.linear(
                functional.normalize(projection_BD, dim=1), functional.normalize(self.prototypes_PD, dim=1)
            )
