"""Cosine head: for each class the cosine of the features and a vector of its own, times a scale.

Legend: ``B`` objects, ``F`` features, ``K`` classes.

The lengths of the features and of the classes' vectors do not matter, so a margin means the same angle to every class.

References
----------
Cao et al. 2019, "Learning imbalanced datasets with label-distribution-aware margin loss": scale 30.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

SCALE = 30.0


class CosineHead(nn.Module):
    """Cosines of features and one learned vector per class, times a scale."""

    def __init__(self, feature_width: int, class_count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(class_count, feature_width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw unit vectors, any direction as likely as any other."""
        with torch.no_grad():
            self.weight.copy_(functional.normalize(torch.randn_like(self.weight), dim=1))

    def forward(self, features_BF: Tensor) -> Tensor:
        """Logits [B, K], from -30 to 30."""
        return SCALE * functional.linear(
            functional.normalize(features_BF, dim=1), functional.normalize(self.weight, dim=1)
        )
