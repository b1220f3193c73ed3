"""Distance of penultimate features to the nearest class of the training objects.

A network may be sure of what it never saw, and then its logits hide it. Features keep what the logits drop. Each class
is a normal distribution about its mean, all of one covariance (Lee et al. 2018, "A simple unified framework for
detecting out-of-distribution samples and adversarial attacks").

Legend: ``N`` or ``B`` objects, ``F`` features, ``K`` classes.
"""

import torch
from torch import Tensor, nn

SHRINKAGE = 0.01  # share of the mean variance that is added to every variance: features that hardly vary count little


class ClassDistance(nn.Module):
    """What training objects look like; part of a network's weights once it is calibrated."""

    def __init__(self, class_count: int, feature_width: int) -> None:
        super().__init__()
        self.mean_KF: Tensor
        self.whiten_FF: Tensor
        self.register_buffer("mean_KF", torch.zeros(class_count, feature_width))
        self.register_buffer("whiten_FF", torch.eye(feature_width))

    @classmethod
    def of(
        cls, features_NF: Tensor, label_N: Tensor, class_count: int, weight_N: Tensor | None = None
    ) -> "ClassDistance":
        """Fit to features of labelled objects.

        Parameters
        ----------
        weight_N
            Of each row, where rows are several moments of one object; all alike when None.

        Raises
        ------
        ValueError
            When a class has no object.
        """
        x_NF = features_NF.double()
        weight_N = x_NF.new_ones(len(x_NF)) if weight_N is None else weight_N.double()
        of_class_NK = nn.functional.one_hot(label_N, class_count) * weight_N[:, None]
        total_K = of_class_NK.sum(0)
        if not total_K.all():
            raise ValueError(f"the classes have {total_K.tolist()} training objects: each needs at least one")
        familiar = cls(class_count, features_NF.shape[1])
        mean_KF = (of_class_NK.T @ x_NF) / total_K[:, None]
        from_mean_NF = x_NF - mean_KF[label_N]
        covariance_FF = (from_mean_NF * weight_N[:, None]).T @ from_mean_NF / weight_N.sum()
        share = SHRINKAGE * covariance_FF.diagonal().mean().clamp(min=1e-12)
        covariance_FF += share * torch.eye(len(covariance_FF), dtype=x_NF.dtype)
        whiten_FF = torch.linalg.inv(torch.linalg.cholesky(covariance_FF)).T
        familiar.mean_KF.copy_(mean_KF)
        familiar.whiten_FF.copy_(whiten_FF)
        return familiar

    def forward(self, features_BF: Tensor) -> Tensor:
        """Logarithm of the squared Mahalanobis distance to the nearest class, [B]."""
        white_BF, centre_KF = features_BF @ self.whiten_FF, self.mean_KF @ self.whiten_FF
        square_BK = (white_BF[:, None, :] - centre_KF).square().sum(-1)
        return square_BK.amin(1).clamp(min=1e-6).log()
